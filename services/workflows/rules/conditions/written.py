"""A condition in one of three forms: a CEL text, a JSONLogic object, or blocks as an editor makes them. Kept as its author wrote it.

Shapes only: what they mean is compiled from them (``jsonlogic``, ``blocks``), and checked then.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_serializer

from services.workflows.rules.expressions.interface import MAX_SOURCE

MAX_PARTS = 200
MAX_DEPTH = 16
MAX_CHARACTERS = 4000


def _bounded(value: Any) -> Any:
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


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_serializer(mode="plain")
    def _as_written(self) -> dict[str, Any]:
        """What the author set and nothing else: an explicit null stays, a default does not appear."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


class Block(_Form):
    """One comparison. ``operator`` is one of those its field's kind has; ``ignore_case`` is for texts.

    Texts: equals, not_equals, contains, not_contains, starts_with, ends_with, one_of, not_one_of. Numbers: equals, not_equals,
    less_than, at_most, greater_than, at_least, between, one_of, not_one_of. Times: before, after, within_last_days, in_next_days.
    Lists: contains, not_contains, contains_any, contains_all. Yes or no: is_true, is_false. All: is_empty, is_not_empty.
    An empty field equals nothing, so it is in every "not".
    """

    field: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    operator: Annotated[str, StringConstraints(min_length=1, max_length=50)]
    value: Any = None
    ignore_case: bool = False


class AllOf(_Form):
    """True when every one of them is."""

    all: Annotated[list[Member], Field(min_length=1, max_length=MAX_PARTS)]


class AnyOf(_Form):
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


class Blocks(_Form):
    """A condition of blocks: groups of comparisons, each group "all" or "any"."""

    blocks: Annotated[Group, BeforeValidator(_bounded)]


class JsonLogic(_Form):
    """A condition in JSONLogic (https://jsonlogic.com), as far as it can be said exactly; the rest is refused with its place."""

    jsonlogic: Annotated[dict[str, Any], AfterValidator(_bounded)]


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
