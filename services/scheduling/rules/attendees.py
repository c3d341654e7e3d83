"""Who an attendee is: contact details in one spelling, and the patient they belong to. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

_EMAIL = re.compile(r"[^\s@<>\"(),:;\\\[\]]{1,64}@[^\s@<>\"(),:;\\\[\]]{1,250}\.[^\s@<>\"(),:;\\\[\]]{2,63}")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class AttendeeDetails:
    """Who comes, as the booking named them, in our spelling; empty means not told."""

    name: str = ""
    email: str | None = None
    phone: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A patient as far as matching needs to know them. ``name`` is as ``normal_name`` spells it."""

    patient_id: UUID
    name: str
    email: str | None
    phone: str | None


def normal_email(text: object) -> str | None:
    """Lower-cased address, or None for what cannot be one."""
    if not isinstance(text, str):
        return None
    text = text.strip().lower()
    return text if _EMAIL.fullmatch(text) else None


def normal_phone(text: object) -> str | None:
    """E.164 (ITU-T), or None for what is no number with a country code. ``00`` counts as the plus sign."""
    if not isinstance(text, str):
        return None
    digits = re.sub(r"[\s().\-/]", "", text)
    if digits.startswith("00"):
        digits = "+" + digits[2:]
    return digits if _PHONE.fullmatch(digits) else None


def normal_name(text: str) -> str:
    """For comparing: no accents, no case, single spaces."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(plain.casefold().split())


def shown_name(text: object) -> str:
    """For keeping: NFC, no control characters, at most 200 characters; empty for what is no text."""
    if not isinstance(text, str):
        return ""
    kept = "".join(c if unicodedata.category(c) not in {"Cc", "Cs"} else " " for c in text)
    return " ".join(unicodedata.normalize("NFC", kept).split())[:_LONGEST_NAME]


def match(attendee: AttendeeDetails, candidates: Sequence[Candidate]) -> UUID | None:
    """The one patient the attendee is, or None: nobody, or more than one who could be meant.

    E-mail counts before phone. Where several share it (a family), the other number and then the name decide.
    """
    by_email = [c for c in candidates if attendee.email and c.email == attendee.email]
    by_phone = [c for c in candidates if attendee.phone and c.phone == attendee.phone]
    found = by_email or by_phone
    name = normal_name(attendee.name)
    same_phone: Callable[[Candidate], bool] = lambda c: bool(attendee.phone) and c.phone == attendee.phone  # noqa: E731
    same_name: Callable[[Candidate], bool] = lambda c: bool(name) and c.name == name  # noqa: E731
    for narrower in (same_phone, same_name):
        if len(found) > 1:
            found = [c for c in found if narrower(c)] or found
    return found[0].patient_id if len(found) == 1 else None
