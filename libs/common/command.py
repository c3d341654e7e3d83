"""The base of command models: what a door parses its input into.

Frozen, unknown fields refused, and validation errors never repeat the input.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, JsonValue, StringConstraints


class Command(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)


def _clean(text: str) -> str:
    """NFC (Unicode UAX #15), no control characters: what people type, in one spelling."""
    text = unicodedata.normalize("NFC", text)
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        message = "control characters are not allowed"
        raise ValueError(message)
    return text


Line = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_clean)]
"""One line of text a person typed: 1 to 200 characters."""


def _clean_text(text: str) -> str:
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n"))
    if any(unicodedata.category(character) in {"Cc", "Cs"} and character not in "\n\t" for character in text):
        message = "control characters are not allowed"
        raise ValueError(message)
    return text


Text = Annotated[str, StringConstraints(min_length=1, max_length=20_000), AfterValidator(_clean_text)]
"""Text of several lines: 1 to 20,000 characters, line breaks and tabs allowed."""


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        message = "this time is outside of the calendar"
        raise ValueError(message) from None


Moment = Annotated[AwareDatetime, AfterValidator(_utc)]
"""A time somebody names, with its zone or offset; UTC from here on."""

LINE_SCHEMA: dict[str, JsonValue] = {"pattern": r"^(?=.*\S)[^\u0000-\u001f\u007f-\u009f]*$"}
"""What a published schema of a ``Line`` says beside its length, where whoever writes it down is to be told early."""

TEXT_SCHEMA: dict[str, JsonValue] = {"pattern": r"\S"}
"""The same for a ``Text``."""


def not_both(first: str, second: str, why: str) -> dict[str, JsonValue]:
    """What a published schema says of two fields of which one at most is given; null is not given. ``why`` is for people."""
    given: dict[str, JsonValue] = {name: {"not": {"type": "null"}} for name in (first, second)}
    return {"not": {"required": [first, second], "properties": given, "description": why}}
