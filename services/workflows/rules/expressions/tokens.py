"""The words of a CEL expression with their places: what the parser reads. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.workflows.rules.expressions.interface import ExpressionInvalid

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n\f]+ | //[^\n]*)
  | (?P<string>(?:[rR][bB]? | [bB][rR]?)? (?: '''.*?(?<!\\)''' | \"\"\".*?(?<!\\)\"\"\" | '(?:[^'\\\r\n]|\\.)*' | "(?:[^"\\\r\n]|\\.)*"))
  | (?P<float>\d+\.\d+(?:[eE][+-]?\d+)? | \d+[eE][+-]?\d+ | \.\d+(?:[eE][+-]?\d+)?)
  | (?P<int>(?:0[xX][0-9a-fA-F]+ | \d+)[uU]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<operator>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)
_RAW = re.compile(r"([rR][bB]?|[bB][rR]?)?('''|\"\"\"|'|\")(.*)\2\Z", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.DOTALL)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"} | {c: c for c in "\\?\"'`"}


@dataclass(frozen=True, slots=True)
class Token:
    """``start`` and ``end`` count characters from 0; the end is behind the last one."""

    kind: str
    text: str
    start: int
    end: int


def tokens(text: str) -> list[Token]:
    """Everything but space and comments, and an ``end`` behind it. Raises ``ExpressionInvalid``."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionInvalid("syntax error: this character has no meaning here", at + 1)
        if match.lastgroup != "space":
            found.append(Token(str(match.lastgroup), match[0], at, match.end()))
        at = match.end()
    return [*found, Token("end", "", len(text), len(text))]


def literal_text(token: Token) -> str | None:
    """What a string literal says; None for bytes. Raises ``ExpressionInvalid`` for an escape that is none."""
    match = _RAW.match(token.text)
    assert match is not None
    prefix, content = (match[1] or "").lower(), match[3]
    if "b" in prefix:
        return None
    if "r" in prefix:
        return content

    def plain(escape: re.Match[str]) -> str:
        digits = escape[1] or escape[2] or escape[3]
        number = int(digits, 16) if digits else int(escape[4], 8) if escape[4] else None
        if number is None and escape[5] in _SIMPLE:
            return _SIMPLE[escape[5]]
        # NUL cuts texts in the engine, a surrogate is no character.
        if number is None or number == 0 or number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
            raise ExpressionInvalid("syntax error: no such escape in a text", token.start + 1)
        return chr(number)

    return _ESCAPE.sub(plain, content)
