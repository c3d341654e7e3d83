"""From a definition to something that runs: every expression compiled once, every fault found with its place.

What compiles is also tried on made-up values: once with every field set, once with every field that may be empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import available_timezones

from services.workflows.rules.definitions.calendar import CronInvalid, check_cron, is_zone
from services.workflows.rules.definitions.checking import Checker
from services.workflows.rules.definitions.definition import AnchoredTrigger, Definition, EventTrigger, ScheduleTrigger
from services.workflows.rules.definitions.program import Instruction, program_of
from services.workflows.rules.definitions.steps import (
    ActionStep,
    Anchor,
    Awaited,
    BranchStep,
    Exit,
    Step,
    StopStep,
    WaitForStep,
    WaitUntilStep,
    walk,
    ways,
)
from services.workflows.rules.definitions.triggers import BY_TYPE, OCCASIONS, event_of
from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.rules.expressions.engines import Engine
from services.workflows.rules.expressions.interface import Compiled, Expressions, Fields
from services.workflows.rules.expressions.templates import Template
from services.workflows.rules.findings import DefinitionInvalid, Finding, did_you_mean

EXITS = "@exit"
"""Under this name stand the exit conditions among what is awaited."""


@dataclass(frozen=True)
class AwaitedRule:
    """One of the events a run waits for, with its own kind of values. ``about``: of an exit condition, what it has to be about."""

    event: str
    fields: Fields
    expressions: Expressions
    when: Compiled | None
    about: str | None = None


@dataclass(frozen=True)
class CompiledDefinition:
    """A definition ready to run. Immutable; shared by all runs of its version in this process.

    ``expressions`` is one object for all definitions about the same kind of event: what it binds, all of them evaluate.
    ``names`` says which of patient, appointment, practice and steps its expressions and times look at.
    """

    definition: Definition
    fields: Fields
    expressions: Expressions
    condition: Compiled | None
    key: Compiled | None = None
    conditions: Mapping[str, Compiled] = field(default_factory=dict)
    templates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cases: Mapping[str, tuple[Compiled, ...]] = field(default_factory=dict)
    awaited: Mapping[str, tuple[AwaitedRule, ...]] = field(default_factory=dict)
    program: tuple[Instruction, ...] = ()
    names: frozenset[str] = frozenset()
    warnings: tuple[Finding, ...] = ()

    @property
    def anchored(self) -> bool:
        """Whether its runs begin with the wait for the time of their appointment."""
        return isinstance(self.definition.trigger, AnchoredTrigger)


def compile_definition(definition: Definition, engine: Engine = CelCpp) -> CompiledDefinition:
    """Raises ``DefinitionInvalid`` with everything that is wrong, not only the first."""
    trigger = definition.trigger
    if isinstance(trigger, EventTrigger) and trigger.event not in BY_TYPE:
        message = "No event of this type starts a workflow."
        raise DefinitionInvalid([Finding("unknown_event", "/trigger/event", message, hint=did_you_mean(trigger.event, BY_TYPE))])
    return _Compiler(definition, engine).run()


class _Compiler:
    def __init__(self, definition: Definition, engine: Engine) -> None:
        self._definition = definition
        self._engine = engine
        self._findings: list[Finding] = []
        self._names: set[str] = set()
        self._checker = Checker(event_of(definition.trigger), engine, self._findings, self._names)
        self._conditions: dict[str, Compiled] = {}
        self._templates: dict[str, Mapping[str, Any]] = {}
        self._cases: dict[str, tuple[Compiled, ...]] = {}
        self._awaited: dict[str, tuple[AwaitedRule, ...]] = {}

    def run(self) -> CompiledDefinition:
        definition = self._definition
        condition = self._checker.condition(definition.condition, "/condition", None)
        key = self._checker.value(definition.enrolment.key, "/enrolment/key") if definition.enrolment else None
        self._trigger()
        self._await(EXITS, definition.exit or (), "/exit", None)
        for step, pointer, _ in walk(definition.steps):
            self._checker.known_steps.append(step.id)
            self._step(step, pointer)
        self._unreachable(definition.steps, "/steps")
        if any(finding.severity == "error" for finding in self._findings):
            raise DefinitionInvalid(self._findings)
        return CompiledDefinition(
            definition, self._checker.fields, self._checker.expressions, condition, key, self._conditions, self._templates, self._cases,
            self._awaited, program_of(definition), frozenset(self._names), tuple(self._findings),
        )  # fmt: skip

    def _trigger(self) -> None:
        trigger = self._definition.trigger
        if isinstance(trigger, AnchoredTrigger):
            self._anchor(trigger.anchor, "/trigger/anchor", None)
        if isinstance(trigger, ScheduleTrigger):
            self._names.add("practice")
            try:
                check_cron(trigger.cron)
            except CronInvalid as error:
                self._findings.append(Finding("invalid_cron", "/trigger/cron", str(error)))
            if trigger.saved_filter is not None and trigger.for_each != "patient":
                hint = "for_each: patient starts a run for each it finds"
                self._findings.append(
                    Finding("filter_of_nobody", "/trigger/saved_filter", "This starts one run for the practice.", hint=hint)
                )
            if trigger.time_zone is not None and not is_zone(trigger.time_zone):
                hint = did_you_mean(trigger.time_zone, available_timezones()) or "such as Europe/Berlin"
                self._findings.append(Finding("unknown_time_zone", "/trigger/time_zone", "There is no such time zone.", hint=hint))

    def _step(self, step: Step, pointer: str) -> None:
        match step:
            case ActionStep():
                when = self._checker.condition(step.when, f"{pointer}/when", step.id)
                if when is not None:
                    self._conditions[step.id] = when
                self._templates[step.id] = self._checker.parameters(step.parameters, f"{pointer}/parameters", step.id)
            case BranchStep():
                compiled = [self._checker.condition(c.when, f"{pointer}/cases/{n}/when", step.id) for n, c in enumerate(step.cases)]
                self._cases[step.id] = tuple(one for one in compiled if one is not None)
            case WaitForStep():
                self._await(step.id, step.events, f"{pointer}/events", step.id)
                if step.about == "appointment" and "appointment.id" not in self._checker.fields:
                    message = "What starts this workflow names no appointment."
                    self._findings.append(Finding("no_appointment", f"{pointer}/about", message, step.id))
            case WaitUntilStep(anchor=Anchor() as anchor):
                self._anchor(anchor, f"{pointer}/anchor", step.id)
            case WaitUntilStep():
                self._names |= {"practice", "patient"} if step.local and step.local.zone == "patient" else {"practice"}

    def _anchor(self, anchor: Anchor, pointer: str, step: str | None) -> None:
        self._names.add("appointment")
        if anchor.of not in self._checker.fields:
            message = "What starts this workflow names no appointment."
            self._findings.append(Finding("no_appointment", f"{pointer}/of", message, step))

    def _await(self, name: str, events: Sequence[Awaited], pointer: str, step: str | None) -> None:
        rules: list[AwaitedRule] = []
        for number, awaited in enumerate(events):
            event = BY_TYPE.get(awaited.event)
            if event is None or event in OCCASIONS:
                message = "No event of this type can be waited for."
                hint = did_you_mean(awaited.event, BY_TYPE)
                self._findings.append(Finding("unknown_event", f"{pointer}/{number}/event", message, step, hint=hint))
                continue
            checker = Checker(
                event,
                self._engine,
                self._findings,
                self._names,
                awaiting=event_of(self._definition.trigger),
                known_steps=self._checker.known_steps,
            )
            when = checker.condition(awaited.when, f"{pointer}/{number}/when", step)
            about = awaited.about if isinstance(awaited, Exit) else None
            if about == "appointment" and not {"appointment.id"} <= {*checker.fields} & {*self._checker.fields}:
                message = "What starts this workflow, or this event, names no appointment."
                self._findings.append(Finding("no_appointment", f"{pointer}/{number}/about", message, step))
            rules.append(AwaitedRule(awaited.event, checker.fields, checker.expressions, when, about))
        if rules:
            self._awaited[name] = tuple(rules)

    def _unreachable(self, steps: Any, pointer: str) -> None:
        """What stands behind a stop."""
        for index, step in enumerate(steps):
            if isinstance(step, StopStep) and index + 1 < len(steps):
                lost = steps[index + 1]
                message = "This is never reached: the run stops before it."
                self._findings.append(Finding("unreachable_step", f"{pointer}/{index + 1}", message, lost.id))
            for inner, where in ways(step, f"{pointer}/{index}"):
                self._unreachable(inner, where)


__all__ = ["EXITS", "AwaitedRule", "CompiledDefinition", "Template", "compile_definition"]
