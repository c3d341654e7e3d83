"""The formats that schemas of parameters may name, read as the owners of actions read them. Pure.

``time-zone`` (an IANA name) and ``local-date-time`` (a date-time whose offset may be left out) are ours; who does not know a format
lets it pass.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import available_timezones

import jsonschema

FORMATS = jsonschema.FormatChecker(formats=())

EXAMPLES = {
    "date-time": "a time with its offset, such as 2030-01-31T09:30:00Z",
    "local-date-time": "a date and a time, such as 2030-01-31T09:30",
    "date": "a day, such as 2030-01-31",
    "uuid": "an id, such as 0190a0a0-0000-7000-8000-000000000001",
    "email": "an address, such as sam@patients.example",
    "uri": "an address, such as https://system.example/hook",
    "time-zone": "an IANA name, such as Europe/Berlin",
}

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(rf"{_DAY.pattern}[Tt ][0-9]{{2}}:[0-9]{{2}}.*")
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@.]{2,}")


@FORMATS.checks("date-time", ValueError)
def _date_time(value: Any) -> bool:
    return not isinstance(value, str) or (_MOMENT.fullmatch(value) is not None and datetime.fromisoformat(value).tzinfo is not None)


@FORMATS.checks("local-date-time", ValueError)
def _local_date_time(value: Any) -> bool:
    return not isinstance(value, str) or (("T" in value or " " in value) and datetime.fromisoformat(value) is not None)


@FORMATS.checks("date", ValueError)
def _date(value: Any) -> bool:
    return not isinstance(value, str) or (_DAY.fullmatch(value) is not None and date.fromisoformat(value) is not None)


@FORMATS.checks("uuid", ValueError)
def _uuid(value: Any) -> bool:
    return not isinstance(value, str) or UUID(value) is not None


@FORMATS.checks("email")
def _email(value: Any) -> bool:
    return not isinstance(value, str) or _EMAIL.fullmatch(value) is not None


@FORMATS.checks("uri", ValueError)
def _uri(value: Any) -> bool:
    return not isinstance(value, str) or bool(urlsplit(value).scheme and (urlsplit(value).netloc or urlsplit(value).path))


@FORMATS.checks("time-zone")
def _zone(value: Any) -> bool:
    return not isinstance(value, str) or value in _zones()


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
