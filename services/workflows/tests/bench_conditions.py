"""What conditions cost: one evaluation of each kind, one event against a thousand workflows, and the worst that passes. No database.

Not collected by default: ``pytest -s services/workflows/tests/bench_conditions.py`` prints the figures.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from libs.contracts.conditions import Blocks
from libs.contracts.scheduling import AppointmentBooked
from services.workflows.rules.conditions.forms import as_cel
from services.workflows.rules.conditions.written import JsonLogic
from services.workflows.rules.definitions.compiling import compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.rules.expressions.context import values_for
from services.workflows.rules.expressions.engines import ENGINES, environment
from services.workflows.rules.expressions.interface import Compiled, Evaluated, ExpressionInvalid
from services.workflows.rules.expressions.samples import full_sample
from services.workflows.tests import test_rules_bounds
from services.workflows.tests.engine.world import definition, send
from services.workflows.tests.test_rules_bounds import FIELDS, LARGEST, SHAPES

WORKFLOWS = 1000
CONDITIONS = {
    "one comparison": "event.title == 'First visit'",
    "three, one of a patient": "patient.email != null && patient.email.endsWith('.example') && event.version > 0",
    "time and zone": "event.starts_at.getHours('Europe/Berlin') < 12 && event.starts_at - now > duration('24h')",
    "pattern": "event.title.matches('^[A-Z][a-z]+ visit$')",
    "written list": "event.status in ['booked', 'confirmed']",
}
BLOCKS = {
    "blocks": {
        "all": [{"field": "patient.email", "operator": "is_not_empty"}, {"field": "event.title", "operator": "equals", "value": "x"}]
    }
}
RULE = {"jsonlogic": {"and": [{"!!": {"var": "patient.email"}}, {"==": [{"var": "event.title"}, "x"]}]}}


def microseconds(do: Callable[[], Any], rounds: int) -> float:
    """The best of five, in CPU time."""
    best = float("inf")
    for _ in range(5):
        began = time.thread_time()
        for _ in range(rounds):
            do()
        best = min(best, (time.thread_time() - began) / rounds)
    return best * 1e6


def evaluate(compiled: Compiled, engine: CelCpp) -> Evaluated:
    return compiled.evaluate(engine.bind(LARGEST))


def say(text: str) -> None:
    print(text)  # noqa: T201


@pytest.mark.bench
@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_each_kind(engine: str) -> None:
    fields, expressions = environment(AppointmentBooked, ENGINES[engine])
    sample = full_sample(AppointmentBooked, fields)
    bound = expressions.bind(sample)
    rounds = 2000 if engine == "cel-cpp" else 50
    forms = {
        **CONDITIONS,
        "two blocks": as_cel(Blocks.model_validate(BLOCKS), expressions.shapes),
        "JSONLogic of two": as_cel(JsonLogic.model_validate(RULE), expressions.shapes),
    }
    say(f"\n{engine}: bind {microseconds(lambda: expressions.bind(sample), rounds):.1f} us")
    for name, text in forms.items():
        compiled = expressions.compile(text, translated=True)
        again = microseconds(partial(compiled.evaluate, bound), rounds)
        fresh = microseconds(lambda: compiled.evaluate(expressions.bind(sample)), rounds)  # noqa: B023
        saved = microseconds(partial(expressions.compile, text, translated=True), max(5, rounds // 20))
        say(f"{name:<26} {again:8.1f} us shared, {fresh:8.1f} us with its own values, {saved:8.0f} us to compile")


@pytest.mark.bench
def test_a_thousand_workflows() -> None:
    texts = list(CONDITIONS.values())
    began = time.thread_time()
    compiled = [
        compile_definition(Definition.model_validate(definition(send(), condition=f"({texts[n % len(texts)]}) && event.version != {n}")))
        for n in range(WORKFLOWS)
    ]
    say(f"\n{WORKFLOWS} definitions compiled in {time.thread_time() - began:.2f} s")
    one = compiled[0]
    event = full_sample(AppointmentBooked, one.fields)
    data = {name.removeprefix("event."): value for name, value in event.items() if name.startswith("event.")}

    def meet() -> int:
        bound = one.expressions.bind(values_for(one.fields, data, None, None, {}, now=event["now"]))
        return sum(each.condition is not None and each.condition.evaluate(bound).is_true for each in compiled)

    walls = []
    for _ in range(50):
        began = time.perf_counter()
        meet()
        walls.append((time.perf_counter() - began) * 1e3)
    walls.sort()
    say(
        f"one event, {WORKFLOWS} conditions: {microseconds(meet, 10) / 1e3:.2f} ms CPU; wall p50 {walls[25]:.2f} ms, p90 {walls[45]:.2f} ms"
    )


@pytest.mark.bench
def test_the_worst_that_passes() -> None:
    engine = CelCpp(FIELDS, SHAPES)
    say("")
    for text in test_rules_bounds.TestEvaluating.COSTLY:
        try:
            compiled = engine.compile(text)
        except ExpressionInvalid as error:
            say(f"refused             {text} ({error})")
            continue
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        spent = min(microseconds(partial(evaluate, compiled, engine), 1) for _ in range(3))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        say(f"{spent / 1e3:8.2f} ms, +{grown / 1024:3.0f} MB  {text}")
