"""Something that may start runs: an event from the backbone, or an occasion of our own, in one shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from libs.common.ids import derived_id
from libs.common.messaging import Received
from libs.common.telemetry import Cause, current_traceparent
from libs.contracts.envelope import Event
from libs.contracts.scheduling import AppointmentBooked
from libs.contracts.workflows import AppointmentIncluded
from services.workflows.commands.published import InForce
from services.workflows.commands.rows import RunRow
from services.workflows.commands.world import id_in


@dataclass(frozen=True)
class Happening:
    """One event. ``text`` is its data as JSON, ``cause`` what follows from it inherits, ``causation_id`` what it followed from.

    ``said``: somebody said it on the bus. An occasion of our own is said with the first run it starts. ``many``: it is one of many
    occasions that a job, or a schedule for each patient, brings about together. That is a matter of load only.
    """

    practice_id: UUID
    id: UUID
    data: Event
    text: str
    at: datetime
    cause: Cause
    causation_id: str = ""
    said: bool = True
    many: bool = False

    @classmethod
    def own(
        cls, practice_id: UUID, event_id: UUID, data: Event, now: datetime, cause: Cause, causation_id: str = "", *, many: bool = False
    ) -> Happening:
        """An occasion of our own. What follows names it as its cause."""
        follows = Cause(cause.correlation_id or str(event_id), str(event_id), cause.traceparent or current_traceparent(), cause.tracestate)
        return cls(practice_id, event_id, data, data.model_dump_json(), now, follows, causation_id, said=False, many=many)

    @classmethod
    def of(cls, event: Received[Any]) -> Happening:
        return cls(event.practice_id, event.id, event.data, event.raw.decode(), event.time, event.cause, event.causation_id)

    @property
    def bulk(self) -> bool:
        """Whether it is one of many changes made at once, such as an import: it starts only what asks for such."""
        return bool(getattr(self.data, "bulk", False))

    def ids(self) -> Mapping[str, Any]:
        """Whom it is about."""
        return self._ids

    @cached_property
    def _ids(self) -> Mapping[str, Any]:
        return _ids_in(self.data)


def run_row(happening: Happening, seen: Event, workflow: InForce, depth: int, rerun: int = 0) -> RunRow:
    """The run a happening starts, seen as the event ``seen``."""
    text = happening.text if seen is happening.data else seen.model_dump_json()
    ids = happening.ids() if seen is happening.data else _ids_in(seen)
    return RunRow(
        practice_id=happening.practice_id, id=_run_id(happening, seen, workflow, rerun), workflow_id=workflow.workflow_id,
        workflow_name=workflow.name, version=workflow.version, trigger_event_id=happening.id, trigger_type=seen.type, event=text,
        patient_id=ids["patient_id"], appointment_id=ids["appointment_id"], correlation_id=happening.cause.correlation_id,
        traceparent=happening.cause.traceparent, depth=depth, rerun=rerun,
        awaits=workflow.compiled is not None and bool(workflow.compiled.awaited), engine=workflow.engine,
        bulk=happening.bulk or happening.many,
    )  # fmt: skip


def _ids_in(event: Event) -> Mapping[str, Any]:
    return {name: id_in({name: getattr(event, name, None)}, name) for name in ("patient_id", "appointment_id")}


def run_of_booking(workflow_id: UUID, appointment_id: UUID) -> UUID:
    """The id of the run that the booking of an appointment starts, by whichever event we hear of it."""
    return derived_id("run", workflow_id, "booked", appointment_id)


def _run_id(happening: Happening, seen: Event, workflow: InForce, rerun: int) -> UUID:
    """One run per workflow and event; per workflow and appointment where the trigger is its booking."""
    if rerun:
        return derived_id("run", workflow.workflow_id, happening.id, rerun)
    if isinstance(seen, AppointmentBooked) or (isinstance(seen, AppointmentIncluded) and not seen.again):
        return run_of_booking(workflow.workflow_id, seen.appointment_id)
    return derived_id("run", workflow.workflow_id, happening.id)
