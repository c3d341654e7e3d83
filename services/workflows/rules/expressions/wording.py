"""What an engine says about types, in words for people. Pure."""

from __future__ import annotations

import re

_NO_OVERLOAD = re.compile(r"found no matching overload for '(?P<function>[^']+)' applied to '(?P<types>[^']*)'")
_OPERATOR = re.compile(r"[!<>=&|+*/%?:-]+")
_KINDS = {
    "string": "a text", "int": "a whole number", "uint": "a whole number (u)", "double": "a number", "bool": "true or false",
    "google.protobuf.Timestamp": "a time", "timestamp": "a time", "google.protobuf.Duration": "a duration", "duration": "a duration",
    "null": "null", "null_type": "null", "bytes": "bytes", "dyn": "anything",
}  # fmt: skip
_TIMES = frozenset({"google.protobuf.Timestamp", "timestamp"})
_NUMBERS = frozenset({"int", "double", "uint"})

TIME_AS_TEXT = "a time is written timestamp('2030-01-31T09:30:00Z'), or now - duration('24h')"


def worded(message: str) -> tuple[str, str | None]:
    """The message and a hint."""
    found = _NO_OVERLOAD.search(message)
    if found is None:
        return message, None
    types = _split(found["types"].strip("()") if found["types"].startswith("(") else found["types"].replace(".(", ", ").strip("()"))
    said = " and ".join(_kind(one) for one in types)
    return f"{_named(found['function'])} does not take {said}", _hint({one.removeprefix("wrapper(").removesuffix(")") for one in types})


def _hint(kinds: set[str]) -> str | None:
    if kinds & _TIMES and "string" in kinds:
        return TIME_AS_TEXT
    if kinds & _TIMES and kinds & _NUMBERS:
        return "add or take away a duration: event.starts_at - duration('24h')"
    if "string" in kinds and kinds & _NUMBERS:
        return "a number stands without quotes, a text in quotes; string(…) and int(…) make one of the other"
    return None


def _named(function: str) -> str:
    if function == "@in":
        return "in"
    if function in {"_[_]", "_?_:_"}:
        return "[…]" if "[" in function else "? :"
    operator = _OPERATOR.search(function) if "_" in function else None
    return operator[0] if operator else f"{function}()"


def _split(types: str) -> list[str]:
    """At the commas that stand in no brackets."""
    parts, depth = [""], 0
    for character in types:
        depth += (character in "(<") - (character in ")>")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _kind(name: str) -> str:
    if name.startswith("wrapper("):
        return f"{_kind(name.removeprefix('wrapper(').removesuffix(')'))} (or null)"
    if name.startswith("list"):
        return "a list"
    return "a map" if name.startswith("map") else _KINDS.get(name, name)
