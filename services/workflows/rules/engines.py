"""Which CEL engines there are, and one environment per engine and kind of event, made once."""

from __future__ import annotations

from functools import lru_cache

from libs.contracts.envelope import Message
from services.workflows.rules.cel_cpp import CelCpp
from services.workflows.rules.cel_python import CelPython
from services.workflows.rules.context import fields_for
from services.workflows.rules.expressions import Expressions, Fields

Engine = type[CelCpp] | type[CelPython]
ENGINES: dict[str, Engine] = {"cel-cpp": CelCpp, "cel-python": CelPython}


@lru_cache(maxsize=256)
def environment(event: type[Message], engine: Engine) -> tuple[Fields, Expressions]:
    """The fields and the engine for them. The same objects for all definitions: what one binds, all evaluate."""
    fields = fields_for(event)
    return fields, engine(fields)
