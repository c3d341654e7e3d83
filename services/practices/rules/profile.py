"""A practice's profile: where it is, when it is open, how it looks. Pure."""

from __future__ import annotations

import re
from datetime import date, time
from itertools import pairwise
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from libs.common.command import Command, Line

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_COLOUR = r"#[0-9a-fA-F]{6}"


def web_origin(text: str) -> str:
    """``https://host[:port]``, lower-case, nothing else (RFC 6454); ``http`` only for localhost. Raises ``ValueError``."""
    parts = urlsplit(text)
    plain = f"{parts.scheme}://{parts.netloc}" == text and parts.hostname is not None and "@" not in parts.netloc
    local = parts.scheme == "http" and parts.hostname == "localhost"
    if not plain or not (parts.scheme == "https" or local) or not re.fullmatch(r"[a-z0-9.:\[\]-]+", parts.netloc):
        message = "this is not a web origin, like https://www.practice.example"
        raise ValueError(message)
    return text


Origin = Annotated[str, AfterValidator(web_origin)]


class Address(Command):
    street: Line
    postal_code: Line
    city: Line
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2.")]


class Opening(Command):
    """One span of a weekday in the practice's time zone; ``closes`` is after ``opens``."""

    day: Weekday
    opens: time
    closes: time

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.opens.tzinfo or self.closes.tzinfo or self.closes <= self.opens:
            message = "closes is after opens, both without a zone: the practice's own counts"
            raise ValueError(message)
        return self


class Holiday(Command):
    """The practice is closed from ``first`` to ``last``, both included."""

    first: date
    last: date
    name: Line

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last < self.first or (self.last - self.first).days > 366:
            message = "last is not before first, and at most a year after it"
            raise ValueError(message)
        return self


class Branding(Command):
    colour: Annotated[str, Field(pattern=f"^{_COLOUR}$")] | None = None
    logo_url: Annotated[str, Field(pattern=r"^https://[^\s\"'<>]{1,400}$")] | None = None


class Profile(Command):
    """All of it is optional. Openings of one day do not overlap."""

    address: Address | None = None
    phone: Annotated[str, Field(pattern=r"^\+[1-9][0-9 ]{4,20}$", description="E.164, blanks allowed.")] | None = None
    opening_hours: Annotated[list[Opening], Field(max_length=50, default_factory=list)]
    holidays: Annotated[list[Holiday], Field(max_length=200, default_factory=list)]
    branding: Branding | None = None

    @model_validator(mode="after")
    def _no_overlap(self) -> Self:
        spans = sorted((opening.day, opening.opens, opening.closes) for opening in self.opening_hours)
        for (day, _, closes), (next_day, opens, _) in pairwise(spans):
            if day == next_day and opens < closes:
                message = "opening hours of a day overlap"
                raise ValueError(message)
        return self
