"""Times as the server writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC; zeros at the end of the fraction are left out, so its length varies."""
    whole, _, fraction = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
