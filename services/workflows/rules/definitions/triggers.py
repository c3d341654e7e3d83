"""Which events may start a run: what the consumer subscribes to is what a definition may name, so none waits in vain.

Every event of the contracts may, but for those of ``EXCLUDED``: answers to actions and what the engine says itself of runs and
workflows (a workflow would feed itself), reads of records (nothing has happened, and every look would start one), refusals at a door
(anybody outside could start runs), what doors keep of whom they let in (the users' and the practice's own events say it), and
what is said of the practice itself (it has just begun, or is suspended, or the news would stand before its reactivation).

Occasions of our own (a time of a schedule, a person's wish, a call from outside) start the run of the one workflow they name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from libs.contracts import access, notifications, patients, practices, scheduling, workflows
from libs.contracts.envelope import Event, Message
from services.workflows.rules.definitions.definition import (
    AnchoredTrigger,
    EventTrigger,
    ManualTrigger,
    ScheduleTrigger,
    Trigger,
    WebhookTrigger,
)

TRIGGERS: tuple[type[Event], ...] = (
    patients.PatientRegistered,
    patients.PatientUpdated,
    patients.PatientTagged,
    patients.PatientUntagged,
    patients.NoteAdded,
    patients.NoteRemoved,
    scheduling.AppointmentBooked,
    scheduling.AppointmentConfirmed,
    scheduling.AppointmentRescheduled,
    scheduling.AppointmentCancelled,
    scheduling.AppointmentCompleted,
    scheduling.AppointmentMarkedNoShow,
    scheduling.AppointmentReopened,
    scheduling.AppointmentMatched,
    scheduling.WebhookDeliveryExhausted,
    scheduling.CallStarted,
    scheduling.CallEnded,
    scheduling.CallAnalyzed,
    notifications.EmailAccepted,
    notifications.EmailStatusChanged,
    notifications.TaskCreated,
    notifications.TaskUpdated,
    notifications.TaskCompleted,
    notifications.TaskReopened,
    practices.UserInvited,
    practices.InvitationRevoked,
    practices.UserAdded,
    practices.UserChanged,
    practices.UserRoleChanged,
    practices.UserDeactivated,
    practices.UserReactivated,
    practices.ApiKeyCreated,
    practices.ApiKeyRevoked,
)

OCCASIONS: tuple[type[Event], ...] = (
    workflows.ScheduleReached,
    workflows.RunRequested,
    workflows.WebhookReceived,
    workflows.AppointmentIncluded,
)

_ANSWER = "the answer to an action: the step that asked takes it"
_ITSELF = "the engine says it of a run: a workflow it starts would feed itself"
_FILTER = "what is kept of a filter: nothing has happened to a patient"
_OWN = "the engine says it of a workflow: one workflow starts another by name (start_workflow)"
_READ = "a read of records, kept for disclosure: nothing has happened, and every look would start a run"
_PRACTICE = "held while the practice is suspended, it would hold up the news of the reactivation behind it"
_REFUSAL = "a request that was refused, kept for audit: anybody outside could start runs"
_DOORS = "what the doors of all services keep of whom they let in: the events of users and practices say what happened"
EXCLUDED: dict[type[Event], str] = {
    patients.ActionFinished: _ANSWER,
    scheduling.ActionFinished: _ANSWER,
    notifications.ActionFinished: _ANSWER,
    workflows.ActionFinished: _ANSWER,
    workflows.RunStarted: _ITSELF,
    workflows.RunFinished: _ITSELF,
    workflows.RunStuck: _ITSELF,
    workflows.ScheduleStuck: _ITSELF,
    workflows.StepResolved: _ITSELF,
    workflows.WorkflowPublished: _OWN,
    workflows.WorkflowUnpublished: _OWN,
    workflows.WorkflowDuplicated: _OWN,
    workflows.WorkflowReverted: _OWN,
    workflows.WorkflowArchived: _OWN,
    workflows.WorkflowRestored: _OWN,
    patients.PatientRecordViewed: _READ,
    patients.PatientsListed: _READ,
    patients.PatientFiltersViewed: _READ,
    patients.PatientFilterSaved: _FILTER,
    patients.PatientFilterChanged: _FILTER,
    patients.PatientFilterRemoved: _FILTER,
    scheduling.AppointmentsViewed: _READ,
    scheduling.CallsViewed: _READ,
    workflows.ExplanationsViewed: _READ,
    workflows.RunViewed: _READ,
    workflows.PatientsPreviewed: _READ,
    access.DeniedByAudit: _REFUSAL,
    access.DeniedByNotifications: _REFUSAL,
    access.DeniedByPatients: _REFUSAL,
    access.DeniedByPractices: _REFUSAL,
    access.DeniedByScheduling: _REFUSAL,
    access.DeniedByWorkflows: _REFUSAL,
    access.EntryChanged: _DOORS,
    access.MemberAccessChanged: _DOORS,
    access.PracticeAccessChanged: _DOORS,
    practices.PracticeCreated: "the practice has just begun: no workflow of it is published yet",
    practices.PracticeChanged: _PRACTICE,
    practices.PracticeReactivated: _PRACTICE,
    practices.PracticeSuspended: "nothing starts in a practice that is suspended",
}
"""The events that start nothing, each with the reason."""

BY_TYPE: dict[str, type[Event]] = {event.type: event for event in TRIGGERS}

APPOINTMENT_NEWS = (
    scheduling.AppointmentBooked.type,
    scheduling.AppointmentRescheduled.type,
)
"""What gives a workflow anchored to appointments something to wait for."""


def event_of(trigger: Trigger) -> type[Message]:
    """What expressions of the workflow see as ``event``."""
    match trigger:
        case EventTrigger(event=event):
            return BY_TYPE[event]
        case AnchoredTrigger():
            return scheduling.AppointmentState
        case ScheduleTrigger():
            return workflows.ScheduleReached
        case ManualTrigger():
            return workflows.RunRequested
        case WebhookTrigger():
            return workflows.WebhookReceived


def trigger_name(trigger: Trigger) -> str:
    """What starts it, in a word: the event type, or the kind."""
    return trigger.event if isinstance(trigger, EventTrigger) else trigger.kind


def started_types(trigger: Trigger) -> tuple[str, ...]:
    """The event types on the bus that may start it."""
    if isinstance(trigger, EventTrigger):
        return (trigger.event,)
    return APPOINTMENT_NEWS if isinstance(trigger, AnchoredTrigger) else ()


def began_with(trigger: Trigger) -> tuple[str, ...]:
    """The types of what a run with this trigger may have begun with, occasions of our own included."""
    if isinstance(trigger, AnchoredTrigger):
        return (*APPOINTMENT_NEWS, workflows.AppointmentIncluded.type)
    return started_types(trigger) or (event_of(trigger).type,)


def started_by(event: Event) -> tuple[str, ...]:
    """The trigger types an event counts as.

    A booking whose patient is found later counts as booked then: what happens when a patient books must not depend on
    whether the patient's record arrived a moment before or after the booking. A cancelled one is booked no more.
    """
    if isinstance(event, scheduling.AppointmentMatched) and event.status is not scheduling.AppointmentStatus.CANCELLED:
        return event.type, scheduling.AppointmentBooked.type
    return (event.type,)


def seen_as(trigger: str, event: Event, patient: Mapping[str, Any] | None) -> Event:
    """The event as the trigger type it counts as. Who comes to a late-matched booking is the patient it was matched to."""
    if trigger == event.type or not isinstance(event, scheduling.AppointmentMatched):
        return event
    attendee = scheduling.Attendee()
    if patient is not None:
        attendee = scheduling.Attendee(
            name=f"{patient['given_name']} {patient['family_name']}", email=patient["email"], phone=patient["phone"]
        )
    state = event.model_dump(include=set(scheduling.AppointmentState.model_fields))
    return scheduling.AppointmentBooked(**state, attendee=attendee)
