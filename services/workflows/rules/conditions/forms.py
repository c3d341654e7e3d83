"""From a condition in any of its forms to CEL that runs. Pure."""

from __future__ import annotations

from libs.contracts.conditions import Blocks
from services.workflows.rules.conditions.blocks import from_blocks
from services.workflows.rules.conditions.jsonlogic import from_jsonlogic
from services.workflows.rules.conditions.translation import Piece, Untranslatable
from services.workflows.rules.conditions.written import Condition, JsonLogic
from services.workflows.rules.expressions.folding import always
from services.workflows.rules.expressions.shapes import Shapes


def translated(condition: Blocks | JsonLogic, shapes: Shapes) -> Piece:
    """Raises ``Untranslatable``."""
    return from_blocks(condition, shapes) if isinstance(condition, Blocks) else from_jsonlogic(condition, shapes)


def as_cel(condition: Condition, shapes: Shapes) -> str:
    """The CEL a condition means. Raises ``Untranslatable``."""
    return condition if isinstance(condition, str) else translated(condition, shapes).text


def always_comes_to(condition: Condition, shapes: Shapes) -> bool | None:
    """True or false when a condition is that whatever happens; None when it depends."""
    try:
        return always(as_cel(condition, shapes))
    except Untranslatable:
        return None
