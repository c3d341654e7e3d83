"""What is wrong with a definition, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """Something wrong with a definition, where, and what may help. ``pointer`` is a JSON pointer into it.

    An error stops saving or publishing; a warning is shown.
    """

    code: str
    pointer: str
    message: str
    step: str | None = None
    column: int | None = None
    hint: str | None = None
    severity: Literal["error", "warning"] = "error"


class DefinitionInvalid(ValueError):
    """The definition has findings, at least one of them an error."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(finding.message for finding in findings))
        self.findings = findings


def pointer_part(name: object) -> str:
    """One reference token of a JSON pointer (RFC 6901)."""
    return str(name).replace("~", "~0").replace("/", "~1")


def did_you_mean(text: str, known: Iterable[str]) -> str | None:
    """A hint at the closest of what there is."""
    close = difflib.get_close_matches(text, list(known), 1, 0.5)
    return f"did you mean {close[0]!r}?" if close else None
