"""Everything a definition may make an engine do, done once: compiled, and evaluated with the largest values there can be. Pure.

The bound says beforehand what it may cost (``expressions.bounds``); this is where one it has misjudged shows, and where an engine
that breaks does so before anybody relies on it. To be called where breaking hurts nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from services.workflows.rules.definitions.compiling import EXITS, CompiledDefinition, compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.output_checks import output_findings
from services.workflows.rules.definitions.trigger_checks import trigger_findings
from services.workflows.rules.expressions.engines import Engine
from services.workflows.rules.expressions.interface import Expressions
from services.workflows.rules.expressions.samples import largest_sample
from services.workflows.rules.expressions.templates import rendered
from services.workflows.rules.findings import DefinitionInvalid


def try_out(definition: Definition, engine: Engine, reached: Callable[[str | None], None]) -> None:
    """``reached`` hears, before each part, whose turn it is: a step's id, or None for what belongs to no step. Returns when all came to an end."""
    reached(None)
    try:
        compiled = compile_definition(definition, engine)
    except DefinitionInvalid:
        return  # whoever saves it hears why
    for step, evaluate in _parts(compiled):
        reached(step)
        evaluate()
    reached(None)
    trigger_findings(definition)
    output_findings(definition, {})


def _parts(compiled: CompiledDefinition) -> Iterator[tuple[str | None, Callable[[], Any]]]:
    bound = _largest(compiled.expressions)
    for whole in (compiled.condition, compiled.key):
        if whole is not None:
            yield None, partial(whole.evaluate, bound)
    for step, condition in compiled.conditions.items():
        yield step, partial(condition.evaluate, bound)
    for step, cases in compiled.cases.items():
        for case in cases:
            yield step, partial(case.evaluate, bound)
    for step, parameters in compiled.templates.items():
        yield step, partial(rendered, parameters, bound)
    for step, rules in compiled.awaited.items():
        for rule in rules:
            if rule.when is not None:
                yield None if step == EXITS else step, partial(rule.when.evaluate, _largest(rule.expressions))


def _largest(expressions: Expressions) -> Any:
    return expressions.bind(largest_sample(expressions.shapes))
