"""Conditions as an editor makes them: blocks of field, operator and value in groups, and what blocks may say of a patient.

More than one service reads them: patients keeps them under a name and finds patients by them, workflows starts runs by them. What
each makes of a block is its own, what a block means is the same: an empty field equals nothing, contains nothing, and is in every
"not". Texts compare by their characters; ``ignore_case`` is Unicode's simple case folding.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_serializer

_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
MAX_PARTS = 200
MAX_DEPTH = 16
MAX_CHARACTERS = 4000
MAX_CHOICES = 50
MAX_FOLDED = 100
"""Characters of a text that is compared without regard to case."""

OPPOSITES = {
    "not_equals": "equals", "not_contains": "contains", "not_one_of": "one_of", "is_not_empty": "is_empty", "is_false": "is_true",
}  # fmt: skip
"""Operators that hold where their positive does not."""

TEXT_OPERATORS = ("equals", "contains", "starts_with", "ends_with", "one_of")
DAY_OPERATORS = ("before", "after")
"""What a text that is a day can be asked beside: strictly before or after a day."""

LIST_OPERATORS = ("contains", "contains_any", "contains_all")
EMPTINESS = "is_empty"
"""What every kind of field can be asked."""

PATIENT_FIELDS: dict[str, Literal["text", "day", "texts"]] = {
    "patient.id": "text", "patient.given_name": "text", "patient.family_name": "text", "patient.email": "text", "patient.phone": "text",
    "patient.birth_date": "day", "patient.time_zone": "text", "patient.tags": "texts",
}  # fmt: skip
"""What a block may ask of a patient. An id is written in lower case, a birth date as 1987-04-12; tags as the practice spells them."""


def is_day(value: object) -> bool:
    """Whether a value of a block is a day: 2030-01-31. Such texts are in the order of the days they name."""
    if not isinstance(value, str) or _DAY.fullmatch(value) is None:
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def bounded(value: Any) -> Any:
    """Refuses what would be a load to walk, before anything walks it recursively."""
    parts = characters = 0
    todo: list[tuple[Any, int]] = [(value, 1)]
    while todo:
        one, depth = todo.pop()
        parts += 1
        characters += len(one) if isinstance(one, str) else 0
        if parts > MAX_PARTS or depth > 2 * MAX_DEPTH or characters > MAX_CHARACTERS:
            message = f"a condition has at most {MAX_PARTS} parts and {MAX_CHARACTERS} characters, {MAX_DEPTH} deep"
            raise ValueError(message)
        inner = [*one.keys(), *one.values()] if isinstance(one, dict) else one if isinstance(one, list) else []
        todo += [(part, depth + 1) for part in inner]
    return value


class Form(BaseModel):
    """Kept as its author wrote it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_serializer(mode="plain")
    def _as_written(self) -> dict[str, Any]:
        """What the author set and nothing else: an explicit null stays, a default does not appear."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


class Block(Form):
    """One comparison. ``operator`` is one of those its field's kind has; ``ignore_case`` is for texts.

    Texts: equals, not_equals, contains, not_contains, starts_with, ends_with, one_of, not_one_of. Numbers: equals, not_equals,
    less_than, at_most, greater_than, at_least, between, one_of, not_one_of. Times: before, after, within_last_days, in_next_days.
    Days (2030-01-31): before, after, and those of texts.
    Lists: contains, not_contains, contains_any, contains_all. Yes or no: is_true, is_false. All: is_empty, is_not_empty.
    An empty field equals nothing, so it is in every "not".
    """

    field: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    operator: Annotated[str, StringConstraints(min_length=1, max_length=50)]
    value: Any = None
    ignore_case: bool = False


class AllOf(Form):
    """True when every one of them is."""

    all: Annotated[list[Member], Field(min_length=1, max_length=MAX_PARTS)]


class AnyOf(Form):
    """True when one of them is."""

    any: Annotated[list[Member], Field(min_length=1, max_length=MAX_PARTS)]


def _block_kind(value: Any) -> str:
    if isinstance(value, dict):
        return "all" if "all" in value else "any" if "any" in value else "block"
    return "all" if isinstance(value, AllOf) else "any" if isinstance(value, AnyOf) else "block"


Member = Annotated[
    Annotated[AllOf, Tag("all")] | Annotated[AnyOf, Tag("any")] | Annotated[Block, Tag("block")],
    Discriminator(_block_kind),
]
for _model in (AllOf, AnyOf):
    _model.model_rebuild()


def _group_kind(value: Any) -> str:
    kind = _block_kind(value)
    return "all" if kind == "block" else kind


Group = Annotated[Annotated[AllOf, Tag("all")] | Annotated[AnyOf, Tag("any")], Discriminator(_group_kind)]


class Blocks(Form):
    """A condition of blocks: groups of comparisons, each group "all" or "any"."""

    blocks: Annotated[Group, BeforeValidator(bounded)]
