"""Interpret a story kept as JSON: nothing but the definition, the inputs, the moments, and what was known at each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from services.workflows.rules.definitions.compiling import CompiledDefinition, compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.expressions.context import values_for
from services.workflows.rules.runs import states
from services.workflows.rules.runs.interpreter import advance
from services.workflows.rules.runs.states import State, Surroundings

MOMENTS = ("starts_at", "ends_at")


def plain(value: Any) -> Any:
    """As JSON has it; what has a name in the interpreter says it under ``is``."""
    if is_dataclass(value) and not isinstance(value, type):
        return {"is": type(value).__name__, **{field.name: plain(getattr(value, field.name)) for field in fields(value)}}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value.isoformat() if isinstance(value, datetime) else value


def replay(story: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The state and the effects after each thing that happened."""
    compiled = compile_definition(Definition.model_validate(story["definition"]))
    state, said = State(paused=story.get("paused", False)), []
    known: dict[str, Any] = {}
    for scene in story["happened"]:
        known |= scene.get("known", {})
        state, effects = advance(
            compiled, state, _input(scene["input"]), _around(compiled, story["event"], known), datetime.fromisoformat(scene["at"])
        )
        said.append({"state": plain(state), "effects": plain(effects)})
    return said


def _input(words: Mapping[str, Any]) -> Any:
    return getattr(states, words["is"])(**{name: value for name, value in words.items() if name != "is"})


def _around(compiled: CompiledDefinition, event: Mapping[str, Any], known: Mapping[str, Any]) -> Surroundings:
    appointment, event = _timed(known.get("appointment", {})), _timed(event)
    patient, practice = known.get("patient"), known.get("practice", {})

    def bind(outputs: Mapping[str, Any]) -> Any:
        return compiled.expressions.bind(values_for(compiled.fields, event, patient, appointment, practice, outputs))

    return Surroundings(bind, appointment, practice, patient)


def _timed(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: datetime.fromisoformat(value) if name in MOMENTS else value for name, value in data.items()}
