"""Try a workflow on one event: the whole path under a virtual clock. Nothing is written, nobody is asked for anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, JsonValue, StringConstraints, ValidationError

from libs.common.command import Command
from libs.common.errors import NotFound, Refused
from libs.common.work import Tx
from libs.contracts.envelope import MESSAGES, Event
from libs.contracts.workflows import ExplanationsViewed
from services.workflows.commands.checks import refuse
from services.workflows.commands.definitions import WorkflowNotFound
from services.workflows.commands.obstacles import obstacles
from services.workflows.queries.definitions import workflow_by_id
from services.workflows.queries.history import definitions_of, logged_event
from services.workflows.queries.world import appointments, patients, practices
from services.workflows.rules.conditions.explaining import SubValue
from services.workflows.rules.definitions.compiling import CompiledDefinition, compile_definition
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.steps import LONGEST_WAIT, EventType, StepId
from services.workflows.rules.definitions.triggers import BY_TYPE, event_of, seen_as, started_types
from services.workflows.rules.expressions.engines import Engine
from services.workflows.rules.expressions.samples import example_of, example_patient
from services.workflows.rules.findings import DefinitionInvalid
from services.workflows.rules.runs.considering import takes
from services.workflows.rules.simulation.occurred import Known, Occurred
from services.workflows.rules.simulation.rehearsal import Answer, Rehearsed, Script, rehearse


class VersionNotFound(NotFound):
    """The workflow has no such published version."""


class EventNotFound(NotFound):
    """No such event is remembered."""


class EventDoesNotFit(Refused):
    """The data does not fit its event type."""


class EventStartsNothing(Refused):
    """An event of this type does not start this workflow."""


class GivenEvent(Command):
    """An event somebody made up: its type and its data."""

    type: EventType
    data: dict[str, JsonValue]


class GivenLater(GivenEvent):
    """An event that comes ``after`` the first one; a negative time is before it."""

    after: Annotated[timedelta, Field(ge=-LONGEST_WAIT, le=LONGEST_WAIT)]


class GivenAnswer(Command):
    """What the owner of an action answers, ``after`` it was asked."""

    outcome: Literal["succeeded", "failed", "unknown"]
    error_code: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    retryable: bool = False
    result: dict[str, JsonValue] = Field(default_factory=dict)
    after: Annotated[timedelta, Field(ge=timedelta(0), le=LONGEST_WAIT)] = timedelta()

    def spoken(self) -> Answer:
        code = self.error_code or ("action_failed" if self.outcome == "failed" else None)
        return Answer(self.outcome, code, self.retryable, self.result, self.after)


class GivenPatient(Command):
    given_name: str | None = None
    family_name: str | None = None
    email: str | None = None
    phone: str | None = None
    birth_date: str | None = None
    tags: Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=50)]], Field(max_length=100)] | None = None


class GivenAppointment(Command):
    status: str | None = None
    title: str | None = None
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    time_zone: str | None = None


class DryRun(Command):
    """``event_id`` is one of the past, ``event`` one made up; without either it is an example of the type that starts the workflow.

    Without ``version`` the draft is tried. ``patient`` and ``appointment`` replace fields of what is known. ``answers`` are per step, in
    the order it is asked (the last one again and again); an action without any succeeds at once.
    """

    version: Annotated[int, Field(ge=1)] | None = None
    event_id: UUID | None = None
    event: GivenEvent | None = None
    now: AwareDatetime | None = None
    patient: GivenPatient | None = None
    appointment: GivenAppointment | None = None
    answers: dict[StepId, Annotated[list[GivenAnswer], Field(min_length=1, max_length=20)]] = Field(default_factory=dict, max_length=50)
    events: Annotated[list[GivenLater], Field(max_length=50)] = Field(default_factory=list)


class ReasonView(BaseModel):
    """A part of a condition as it is written (from ``start`` to ``end``, in characters), and what it came to."""

    text: str
    value: Any
    error: str | None
    start: int | None
    end: int | None
    parts: list[ReasonView]

    @classmethod
    def of(cls, reason: SubValue) -> ReasonView:
        parts = [cls.of(part) for part in reason.children]
        return cls.model_construct(
            text=reason.text, value=reason.value, error=reason.error, start=reason.start, end=reason.end, parts=parts
        )


class PassageView(BaseModel):
    """Something on the way. ``what``: asked, answered, retrying, waits, went_on, branched, skipped, stopped, event or ended."""

    at: datetime
    what: str
    step_id: str | None
    action: str | None
    attempt: int
    parameters: dict[str, Any] | None
    due_at: datetime | None
    events: list[str]
    way: str | None
    outcome: str | None
    error_code: str | None
    output: dict[str, Any]
    reasons: list[ReasonView]


class DryRunView(BaseModel):
    """What would happen. ``verdict``: started, filtered, bulk (an import it does not take), or the error of the condition or key.

    ``notes``: what would keep it from starting now whatever its path: started_already, suppressed, waits_already, too_often,
    active_already, enrolled_already; paused: it would begin held. Times are UTC, by the virtual clock.

    ``waits_until`` is set while the run still waits, ``cut`` when the path was not followed to its end.
    """

    workflow_id: UUID
    version: int | None
    event_type: str
    event: dict[str, Any]
    verdict: str
    notes: list[str]
    reasons: list[ReasonView]
    path: list[PassageView]
    status: str | None
    error_code: str | None
    ended_at: datetime | None
    waits_until: datetime | None
    cut: str | None


async def dry_run(workflow_id: UUID, cmd: DryRun, engine: Engine, tx: Tx) -> DryRunView:
    """Raises ``WorkflowNotFound``, ``VersionNotFound``, ``EventNotFound``, ``EventDoesNotFit``, ``EventStartsNothing``, ``DefinitionRefused``.

    That somebody saw what is known of a patient is said in the same transaction.
    """
    compiled = compiled_or_refused(await definition_for(workflow_id, cmd.version, tx), engine)
    trigger = _as_its_trigger(await _first(cmd, compiled, tx), compiled, workflow_id)
    trigger = _replaced(trigger, cmd)
    known, events = trigger.known, []
    for number, given in sorted(enumerate(cmd.events), key=lambda pair: pair[1].after):
        event = _parsed(given, f"/events/{number}")
        known = known.after(event) if given.after >= timedelta() else known
        at = trigger.at + given.after
        events.append(Occurred(tx.new_id(), event, at, at, known))
    answers = {step: [one.spoken() for one in given] for step, given in cmd.answers.items()}
    notes = await obstacles(workflow_id, cmd.version, compiled, trigger, tx)
    return _view(workflow_id, cmd.version, trigger, rehearse(compiled, trigger, Script(answers, events)), notes)


async def definition_for(workflow_id: UUID, version: int | None, tx: Tx) -> Definition:
    """The draft, or a version as it was published. Raises ``WorkflowNotFound``, ``VersionNotFound``."""
    workflow = await workflow_by_id(workflow_id, tx)
    if workflow is None:
        raise WorkflowNotFound
    if version is None:
        return Definition.model_validate(workflow.draft)
    found = await definitions_of([(workflow_id, version)], tx)
    if not found:
        raise VersionNotFound
    return Definition.model_validate(found[workflow_id, version]["definition"])


def compiled_or_refused(definition: Definition, engine: Engine) -> CompiledDefinition:
    """Raises ``DefinitionRefused``: a draft may name what has gone since it was saved."""
    try:
        return compile_definition(definition, engine)
    except DefinitionInvalid as error:
        refuse(error.findings, "")
        raise


async def _first(cmd: DryRun, compiled: CompiledDefinition, tx: Tx) -> Occurred:
    if cmd.event_id is not None:
        row = await logged_event(cmd.event_id, tx)
        if row is None:
            raise EventNotFound
        past = Occurred.logged(row)
        tx.emit(ExplanationsViewed(event_ids=[past.id], patient_id=past.subjects[0], view="dry_run"))
        return past if cmd.now is None else replace(past, at=cmd.now)
    kind = event_of(compiled.definition.trigger)
    types = started_types(compiled.definition.trigger)
    event = _parsed(cmd.event, "/event") if cmd.event is not None else example_of(BY_TYPE[types[0]] if types else cast("type[Event]", kind))
    now = cmd.now or tx.now
    return Occurred(tx.new_id(), event, now, now, await _known(event, tx))


async def _known(event: Event, tx: Tx) -> Known:
    """What is known about those the event names now; somebody made up where nobody is."""
    practice, patient_id = tx.practice_id, getattr(event, "patient_id", None)
    appointment_id = getattr(event, "appointment_id", None)
    patient = (await patients([(practice, patient_id)], tx)).get((practice, patient_id)) if patient_id else None
    if patient is not None:
        tx.emit(ExplanationsViewed(event_ids=[], patient_id=patient_id, view="dry_run"))
    elif patient_id is not None:
        patient = {**example_patient(), "id": patient_id}
    appointment = (await appointments([(practice, appointment_id)], tx)).get((practice, appointment_id)) if appointment_id else None
    return Known(patient, appointment, (await practices([practice], tx))[practice]).after(event)


def _as_its_trigger(occurred: Occurred, compiled: CompiledDefinition, workflow_id: UUID) -> Occurred:
    """The event as what the workflow takes it for. Raises ``EventStartsNothing``."""
    trigger = compiled.definition.trigger
    own = getattr(occurred.event, "workflow_id", workflow_id)
    name = takes(trigger, occurred.event, own)
    if name is None:
        raise EventStartsNothing(pointer="/event/type", expected=list(started_types(trigger)))
    return replace(occurred, event=seen_as(name, occurred.event, occurred.known.patient))


def _replaced(occurred: Occurred, cmd: DryRun) -> Occurred:
    known = occurred.known
    if cmd.patient is not None:
        known = replace(known, patient={**(known.patient or example_patient()), **cmd.patient.model_dump(exclude_unset=True)})
    if cmd.appointment is not None:
        values = cmd.appointment.model_dump(exclude_unset=True)
        known = replace(known, appointment={**(known.appointment or {}), **values})
    return replace(occurred, known=known)


def _parsed(given: GivenEvent, pointer: str) -> Event:
    """Raises ``EventDoesNotFit`` with where it does not."""
    kind = MESSAGES.get(given.type)
    if kind is None or not issubclass(kind, Event):
        raise EventDoesNotFit(pointer=f"{pointer}/type")
    try:
        return kind.model_validate(given.data)
    except ValidationError as error:
        place = "/".join(str(part) for part in error.errors(include_input=False, include_context=False)[0]["loc"])
        raise EventDoesNotFit(pointer=f"{pointer}/data/{place}") from None


def _view(workflow_id: UUID, version: int | None, trigger: Occurred, found: Rehearsed, notes: list[str]) -> DryRunView:
    path = [
        PassageView.model_construct(
            **{**vars(passage), "events": list(passage.events), "reasons": [ReasonView.of(r) for r in passage.reasons]}
        )
        for passage in found.path
    ]
    return DryRunView(
        workflow_id=workflow_id, version=version, event_type=trigger.event.type, event=trigger.event.model_dump(mode="json"),
        verdict=found.verdict, notes=notes, reasons=[ReasonView.of(reason) for reason in found.reasons], path=path, status=found.status,
        error_code=found.error_code, ended_at=found.ended_at, waits_until=found.waits_until, cut=found.cut,
    )  # fmt: skip


__all__ = ["DryRun", "DryRunView", "ReasonView", "compiled_or_refused", "definition_for", "dry_run"]
