"""Which CEL engines there are, and one environment per engine and kind of event, made once."""

from __future__ import annotations

from libs.contracts.envelope import Message
from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.rules.expressions.cel_python import CelPython
from services.workflows.rules.expressions.context import fields_for, shapes_for
from services.workflows.rules.expressions.interface import Expressions, Fields

Engine = type[CelCpp] | type[CelPython]
ENGINES: dict[str, Engine] = {"cel-cpp": CelCpp, "cel-python": CelPython}


_environments: dict[tuple[type[Message], Engine, bool], tuple[Fields, Expressions]] = {}


def environment(event: type[Message], engine: Engine, *, awaiting: bool = False) -> tuple[Fields, Expressions]:
    """The fields and the engine for them. The same objects for all definitions: what one binds, all evaluate."""
    key = event, engine, awaiting
    if key not in _environments:
        fields = fields_for(event, awaiting=awaiting)
        _environments[key] = fields, engine(fields, shapes_for(event, awaiting=awaiting))
    return _environments[key]
