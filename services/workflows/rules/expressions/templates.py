"""Text with ``{{ CEL }}`` in it: what a step's parameters become when its turn comes. A filled value is never read again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.workflows.rules.expressions.interface import STRING, Compiled, Evaluated

MAX_FILLED = 50_000
"""Characters of a filled text; a longer one is the error ``result_too_large``."""

_TOKEN = re.compile(rf"{STRING}|[{{}}]")


def split(text: str) -> list[str]:
    """Literal text and sources in turn, beginning and ending with literal text. ``{{`` in literal text is unclosed.

    A source may hold braces of its own, those of a map or in a string.
    """
    parts: list[str] = []
    begin = 0
    while (opened := text.find("{{", begin)) >= 0 and (closed := _end_of(text, opened + 2)) is not None:
        parts += [text[begin:opened], text[opened + 2 : closed]]
        begin = closed + 2
    return [*parts, text[begin:]]


def _end_of(text: str, begin: int) -> int | None:
    """Where the ``}}`` stands that closes a source."""
    depth = 0
    for token in _TOKEN.finditer(text, begin):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}" and depth:
            depth -= 1
        elif token[0] == "}" and text.startswith("}}", token.start()):
            return token.start()
    return None


def is_template(value: object) -> bool:
    return isinstance(value, str) and "{{" in value


@dataclass(frozen=True)
class Template:
    """A text parameter: literal parts and expressions in turn."""

    parts: tuple[str | Compiled, ...]

    def render(self, bound: Any) -> str | Evaluated:
        """The text, or the first error."""
        texts: list[str] = []
        for part in self.parts:
            if isinstance(part, str):
                texts.append(part)
                continue
            result = part.evaluate(bound)
            text = as_text(result.value) if result.error is None else None
            if text is None:
                return result if result.error is not None else Evaluated(error="not_text")
            texts.append(text)
        filled = "".join(texts)
        return filled if len(filled) <= MAX_FILLED else Evaluated(error="result_too_large")


def as_text(value: Any) -> str | None:
    """How a value reads in a text; None when it is nothing to read (a list, a map, bytes). Null is empty, times are ISO 8601."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.15g}s"
    if isinstance(value, str):
        return value
    return f"{value:.15g}" if isinstance(value, float) else str(int(value)) if isinstance(value, int) else None


def rendered(parameters: Any, bound: Any) -> Any:
    """Parameters with their templates filled, or the ``Evaluated`` error of the first that fails."""
    if isinstance(parameters, Template):
        return parameters.render(bound)
    if isinstance(parameters, Mapping):
        filled: dict[str, Any] = {}
        for name, inner in parameters.items():
            value = rendered(inner, bound)
            if isinstance(value, Evaluated):
                return value
            filled[name] = value
        return filled
    if isinstance(parameters, list):
        values = [rendered(inner, bound) for inner in parameters]
        return next((value for value in values if isinstance(value, Evaluated)), values)
    return parameters
