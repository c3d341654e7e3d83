"""One reading of JSON for every body: what two parsers could read differently, or a database cannot hold, is refused.

Refused: duplicate keys, NaN and infinities, numbers beyond 2^53 or beyond a double (RFC 7493 §2.2), lone surrogates and NUL
in strings, and documents too deep or too wide to be meant.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from libs.common.errors import Trouble

MAX_DEPTH = 32
MAX_MEMBERS = 10_000
MAX_INTEGER = 2**53 - 1


class InvalidJson(Trouble):
    """The request body is not JSON."""

    status = 400


class JsonNotExact(Trouble):
    """The JSON can be read in more than one way: duplicate keys, or numbers beyond what every reader holds."""

    status = 400


class JsonTooDeep(Trouble):
    """The JSON is nested too deeply, or has too many members."""

    status = 400


class TextInvalid(Trouble):
    """A text holds NUL or half of a character."""

    status = 422


def strict_json(body: bytes) -> Any:
    """The value. Raises the troubles above, never anything else."""
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_not_exact,
        )
    except RecursionError:
        raise JsonTooDeep from None
    except ValueError:  # also bytes that are not UTF-8
        raise InvalidJson from None
    _walk(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonNotExact
    return found


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise JsonNotExact
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise JsonNotExact
    return number


def _not_exact(_: str) -> NoReturn:
    raise JsonNotExact


def _walk(value: Any) -> None:
    """Iterative: a deep document must not be able to end us either."""
    level, members = [value], 0
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, str):
                _check_text(item)
            elif isinstance(item, dict):
                for key in item:
                    _check_text(key)
                deeper.extend(item.values())
            elif isinstance(item, list):
                deeper.extend(item)
        members += len(deeper)
        if members > MAX_MEMBERS:
            raise JsonTooDeep
        if not deeper:
            return
        level = deeper
    raise JsonTooDeep


def _check_text(text: str) -> None:
    if "\0" in text or (not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)):
        raise TextInvalid
