"""How contact details and tags are written, and what counts as a change. Pure."""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from functools import cache
from typing import Any
from zoneinfo import available_timezones

OLDEST_BIRTH_YEAR = 1880
TAG_LENGTH = 50
TAGS_OF_A_PATIENT = 50
_EMAIL = re.compile(r"[^\s@<>\"(),:;\\\[\]]{1,64}@[^\s@<>\"(),:;\\\[\]]{1,250}\.[^\s@<>\"(),:;\\\[\]]{2,63}")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
EMAIL_PATTERN = f"^{_EMAIL.pattern}$"
PHONE_PATTERN = r"^[\s().\-/]*\+(?:[\s().\-/]*[0-9]){7,15}[\s().\-/]*$"
"""What a published schema says of them."""


def normal_email(text: str) -> str:
    """Lower-cased address. Raises ``ValueError`` for what cannot be one."""
    if not _EMAIL.fullmatch(text):
        message = "this is not an e-mail address"
        raise ValueError(message)
    return text.lower()


def normal_phone(text: str) -> str:
    """E.164 (ITU-T): plus sign and 7 to 15 digits; spaces, dots, hyphens and brackets are dropped."""
    digits = re.sub(r"[\s().\-/]", "", text)
    if not _PHONE.fullmatch(digits):
        message = "a phone number is written with its country code, like +12025550123"
        raise ValueError(message)
    return digits


def known_time_zone(name: str) -> str:
    """An IANA zone, spelled as the database spells it. Raises ``ValueError``."""
    if name not in _zones():
        message = "this is not an IANA time zone, like Europe/Berlin"
        raise ValueError(message)
    return name


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def normal_tag(text: str) -> str:
    """One blank between words."""
    return " ".join(text.split())


def tag_key(name: str) -> str:
    """The same for names that people take for the same tag: compatibility forms, capitals and blanks do not count."""
    return unicodedata.normalize("NFKC", normal_tag(name)).casefold()


def possible_birth_date(day: date, today: date) -> bool:
    return day.year >= OLDEST_BIRTH_YEAR and day <= today


def changed_fields(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of the fields whose value differs, in the order of ``after``."""
    return [name for name, value in after.items() if before[name] != value]
