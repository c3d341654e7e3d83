"""What a practice and its users may be. Pure."""

from __future__ import annotations

import re
from functools import cache
from zoneinfo import available_timezones

_EMAIL = re.compile(r"[^\s@<>\"(),:;\\\[\]]{1,64}@[^\s@<>\"(),:;\\\[\]]{1,250}\.[^\s@<>\"(),:;\\\[\]]{2,63}")


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def known_time_zone(name: str) -> str:
    """An IANA time zone name. Raises ``ValueError`` for anything else."""
    if name not in _zones():
        message = "this is not an IANA time zone, like Europe/Berlin"
        raise ValueError(message)
    return name


def normal_email(text: str) -> str:
    """Lower-cased address. Raises ``ValueError`` for what cannot be one."""
    if not _EMAIL.fullmatch(text):
        message = "this is not an e-mail address"
        raise ValueError(message)
    return text.lower()


def leaves_no_admin(active_admins: int, *, was_admin: bool, stays_admin: bool) -> bool:
    """Whether a change would take the practice's last active admin away."""
    return was_admin and not stays_admin and active_admins <= 1
