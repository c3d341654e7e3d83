"""Bookings, cancellations, missed visits, and what follows a visit: after two days, half a year, a year."""

from __future__ import annotations

from typing import Any

from libs.contracts import scheduling
from services.workflows.rules.gallery.entry import Blank, Category, Entry, Kind, act, mail, mail_blanks, spoken

_HAS_MAIL = "patient.email != null"
_CAME = "appointment.status != 'no_show'"
"""Asked when nobody need have said that the patient came: few practices complete every appointment, Cal.com completes none."""
_WHEN = spoken("appointment.starts_at")

_INTAKE = (
    "Before your visit to {{ practice.name }}",
    (
        f"Dear {{{{ patient.given_name }}}},\n\nthank you for your booking on {_WHEN}. Please fill in our form before you come:\n\n"
        "https://forms.practice.example/intake\n\n{{ practice.name }}"
    ),
)
_MISSED = (
    "We missed you at {{ practice.name }}",
    "Dear {{ patient.given_name }},\n\nyou could not come to your appointment. Please book a new one whenever it suits you.\n\n{{ practice.name }}",
)
_AFTER = (
    "How was your visit to {{ practice.name }}?",
    (
        "Dear {{ patient.given_name }},\n\nthank you for your visit. If anything is unclear, or was not as it should be, please write to us.\n\n"
        "{{ practice.name }}"
    ),
)
_FEEDBACK = (
    "Thank you for your visit to {{ practice.name }}",
    (
        "Dear {{ patient.given_name }},\n\nplease tell us how your visit was. It takes two minutes:\n\n"
        "https://forms.practice.example/feedback\n\n{{ practice.name }}"
    ),
)
_RECALL = (
    "Time for a check-up at {{ practice.name }}",
    (
        "Dear {{ patient.given_name }},\n\nyour last visit was some time ago. We would like to see you again: please book an appointment.\n\n"
        "{{ practice.name }}"
    ),
)
_TASK = ("Offer a new appointment", "The patient cancelled an appointment and has booked no other.")
_AGAIN = {"event": scheduling.AppointmentBooked.type}
_REOPENED, _MOVED, _COMPLETED, _MISSED_IT = (
    {"event": news.type, "about": "appointment"}
    for news in (
        scheduling.AppointmentReopened,
        scheduling.AppointmentRescheduled,
        scheduling.AppointmentCompleted,
        scheduling.AppointmentMarkedNoShow,
    )
)
"""Of the visit the run is about."""


def _recall(months: int, offset: str) -> Entry:
    definition: dict[str, Any] = {
        "trigger": {
            "kind": "anchored",
            "anchor": {"of": "appointment.ends_at", "offset": offset, "at": "10:00:00"},
            "past_due": {"policy": "skip"},
        },
        "condition": f"{_HAS_MAIL} && {_CAME}",
        "exit": [{**_AGAIN, "when": "event.appointment_id != trigger.appointment_id"}],
        "steps": [mail("recall", *_RECALL)],
    }
    blanks = (Blank("after", "How long after", Kind.DURATION, offset, ("/trigger/anchor/offset",)), *mail_blanks("/steps/0", *_RECALL))
    title = f"Recall after {months} months"
    said = f"Invites patients by e-mail {months} months after their visit. Whoever books meanwhile is not invited, nor who did not come."
    return Entry(f"recall-{months}-months", Category.RECALL, title, said, definition, blanks)


ENTRIES = (
    Entry(
        "intake-form",
        Category.APPOINTMENTS,
        "Intake form for new bookings",
        "Sends the link of your form to everybody who books. A patient who books several times a month gets it once.",
        {
            "trigger": {"kind": "event", "event": scheduling.AppointmentBooked.type},
            "condition": _HAS_MAIL,
            "enrolment": {"policy": "once", "again_after": "P30D"},
            "steps": [mail("intake", *_INTAKE)],
        },
        mail_blanks("/steps/0", *_INTAKE),
    ),
    Entry(
        "no-show-follow-up",
        Category.APPOINTMENTS,
        "No-show follow-up",
        "When an appointment is marked as no-show: writes to the patient an hour later, unless the mark is taken back, and leaves a note when "
        "they have not booked again after three days.",
        {
            "trigger": {"kind": "event", "event": scheduling.AppointmentMarkedNoShow.type},
            "condition": "event.patient_id != null",
            "exit": [_REOPENED, _COMPLETED, _MOVED],
            "steps": [
                {"kind": "wait", "id": "pause", "duration": "PT1H"},
                mail("write", *_MISSED) | {"when": _HAS_MAIL, "on_error": "skip"},
                {"kind": "wait_for", "id": "booking", "events": [_AGAIN], "look_back": "PT2H", "timeout": "P3D"},
                act("note", "add_note", text="Did not come, and has not booked again within three days.")
                | {"when": "steps.booking.outcome == 'timed_out'"},
            ],
        },
        (
            Blank("delay", "How long to wait first", Kind.DURATION, "PT1H", ("/steps/0/duration",)),
            Blank("patience", "How long to wait for a booking", Kind.DURATION, "P3D", ("/steps/2/timeout",)),
            *mail_blanks("/steps/1", *_MISSED),
        ),
    ),
    Entry(
        "visit-feedback",
        Category.APPOINTMENTS,
        "Feedback form two hours after a visit",
        "Sends the link of your form two hours after an appointment is completed. A patient who comes several times a month gets it once.",
        {
            "trigger": {"kind": "event", "event": scheduling.AppointmentCompleted.type},
            "condition": _HAS_MAIL,
            "enrolment": {"policy": "once", "again_after": "P30D"},
            "exit": [_REOPENED, _MISSED_IT],
            "steps": [{"kind": "wait", "id": "pause", "duration": "PT2H"}, mail("ask", *_FEEDBACK)],
        },
        (Blank("delay", "How long to wait first", Kind.DURATION, "PT2H", ("/steps/0/duration",)), *mail_blanks("/steps/1", *_FEEDBACK)),
    ),
    Entry(
        "cancellation-rebooking",
        Category.STAFF,
        "Cancellation: offer another appointment",
        "When a patient cancels and has booked no other appointment after two days, staff get a task to call them.",
        {
            "trigger": {"kind": "event", "event": scheduling.AppointmentCancelled.type},
            "condition": "event.patient_id != null",
            "enrolment": {"policy": "once_while_active"},
            "steps": [
                {"kind": "wait_for", "id": "booking", "events": [_AGAIN], "look_back": "PT1H", "timeout": "P2D"},
                act("task", "create_task", title=_TASK[0], text=_TASK[1]) | {"when": "steps.booking.outcome == 'timed_out'"},
            ],
        },
        (
            Blank("patience", "How long to wait for a booking", Kind.DURATION, "P2D", ("/steps/0/timeout",)),
            Blank("title", "Title of the task", Kind.LINE, _TASK[0], ("/steps/1/parameters/title",)),
            Blank("text", "Text of the task", Kind.TEXT, _TASK[1], ("/steps/1/parameters/text",)),
        ),
    ),
    Entry(
        "post-visit-follow-up",
        Category.APPOINTMENTS,
        "Two days after a visit",
        "Asks by e-mail how the visit was, at ten in the morning two days later. Not sent to whoever did not come.",
        {
            "trigger": {
                "kind": "anchored",
                "anchor": {"of": "appointment.ends_at", "offset": "P2D", "at": "10:00:00"},
                "past_due": {"policy": "skip"},
            },
            "condition": f"{_HAS_MAIL} && {_CAME}",
            "steps": [mail("ask", *_AFTER)],
        },
        (
            Blank("after", "How long after", Kind.DURATION, "P2D", ("/trigger/anchor/offset",)),
            Blank("at", "Time of day", Kind.TIME, "10:00:00", ("/trigger/anchor/at",)),
            *mail_blanks("/steps/0", *_AFTER),
        ),
    ),
    _recall(6, "P182D"),
    _recall(12, "P364D"),
)
