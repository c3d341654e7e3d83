"""What a request to an outside system may carry, and what its answer means. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[!-~]([ \t!-~]{0,998}[!-~])?")
RESERVED = frozenset({
    "accept-encoding", "authorization", "connection", "content-length", "content-type", "cookie", "expect", "forwarded", "host",
    "idempotency-key", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    "user-agent", "via",
})  # fmt: skip
"""Headers that say who speaks, to whom, or where a message ends: never the author's to set."""
_BEGINNINGS = ("proxy-", "sec-", "x-forwarded-")


def _in_any_case(words: Collection[str]) -> str:
    """Patterns of published schemas have no flag for it."""
    return "|".join("".join(f"[{one.upper()}{one}]" if one.isalpha() else one for one in word) for word in sorted(words))


NAME_PATTERN = f"^(?!({_in_any_case(RESERVED)})$|({_in_any_case(_BEGINNINGS)})){_NAME.pattern}$"
VALUE_PATTERN = f"^{_VALUE.pattern}$"
"""``header_name`` and ``header_value`` as a published schema says them."""

URL_PATTERN = r"^https://(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?::443)?(?:[/?][!\"$-\[\]-~]*)?$"
"""A public address as far as it can be told by looking at it: where its name leads is asked with every call."""


@dataclass(frozen=True)
class Call:
    """One request, ready to be sent. ``body`` is JSON or nothing."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    seconds: float
    traceparent: str = ""


@dataclass(frozen=True)
class Answer:
    """A status, or the code of a failure; ``arrived`` is False when the request certainly reached nobody."""

    status: int | None
    code: str = ""
    arrived: bool = True
    retry_after: str = ""


_NOT_TAKEN = frozenset({429, 503})


class Verdict(StrEnum):
    DONE = "done"
    AGAIN = "again"
    FAILED = "failed"
    UNKNOWN = "unknown"


def header_name(name: str) -> str:
    """A field name (RFC 9110 §5.1) that an author may set. Raises ``ValueError``."""
    lower = name.lower()
    if not _NAME.fullmatch(name) or lower in RESERVED or lower.startswith(_BEGINNINGS):
        message = "this header cannot be set"
        raise ValueError(message)
    return lower


def header_value(value: str) -> str:
    """Visible ASCII: a line break would begin another header. Raises ``ValueError``."""
    if not _VALUE.fullmatch(value):
        message = "a header's value is visible ASCII in one line, at most 1000 characters"
        raise ValueError(message)
    return value


def verdict(answer: Answer, expected: Collection[int]) -> Verdict:
    """What follows. ``expected`` empty: any 2xx. 429 and 503 say that it was not taken and may be later (RFC 9110 §15.6.4, RFC 6585 §4).

    Another 5xx may come after the receiver did what it was asked, as from a gateway that did not wait: nobody knows. What else is answered stays.
    """
    if answer.status is None:
        if answer.arrived:
            return Verdict.UNKNOWN
        return Verdict.FAILED if answer.code in {"url_refused", "address_refused"} else Verdict.AGAIN
    if answer.status in expected if expected else 200 <= answer.status < 300:
        return Verdict.DONE
    if answer.status in _NOT_TAKEN:
        return Verdict.AGAIN
    return Verdict.UNKNOWN if answer.status >= 500 else Verdict.FAILED


def pause_asked(text: str) -> float | None:
    """Seconds of a ``Retry-After``; a date or anything else counts as none."""
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None
