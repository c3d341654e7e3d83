"""A condition in one of three forms: a CEL text, a JSONLogic object, or blocks as an editor makes them. Kept as its author wrote it.

Shapes only: what they mean is compiled from them (``jsonlogic``, ``blocks``), and checked then.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, StringConstraints, Tag

from libs.contracts.conditions import Blocks, Form, bounded
from services.workflows.rules.expressions.interface import MAX_SOURCE


class JsonLogic(Form):
    """A condition in JSONLogic (https://jsonlogic.com), as far as it can be said exactly; the rest is refused with its place."""

    jsonlogic: Annotated[dict[str, Any], AfterValidator(bounded)]


def _form(value: Any) -> str:
    if isinstance(value, dict):
        return "blocks" if "blocks" in value else "jsonlogic"
    return "blocks" if isinstance(value, Blocks) else "jsonlogic" if isinstance(value, JsonLogic) else "cel"


Cel = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SOURCE)]
Condition = Annotated[
    Annotated[Cel, Tag("cel")] | Annotated[JsonLogic, Tag("jsonlogic")] | Annotated[Blocks, Tag("blocks")],
    Discriminator(_form),
]
"""Something that is true or false. A plain text is CEL."""
