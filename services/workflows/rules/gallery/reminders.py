"""Before an appointment, and when it moves."""

from __future__ import annotations

from libs.contracts import scheduling
from services.workflows.rules.gallery.entry import Blank, Category, Entry, Kind, act, mail, mail_blanks, spoken

_HAS_MAIL, _HAS_PHONE = "patient.email != null", "patient.phone != null"
_WHEN = spoken("appointment.starts_at")
_CANCELLED = {"event": scheduling.AppointmentCancelled.type, "when": "event.appointment_id == trigger.appointment_id"}

_DAY_BEFORE = (
    "Your appointment at {{ practice.name }}",
    (
        f"Dear {{{{ patient.given_name }}}},\n\nthis is a reminder of your appointment on {_WHEN}.\n\n"
        "If you cannot come, please tell us as early as you can.\n\n{{ practice.name }}"
    ),
)
_EVENING = (
    "See you tomorrow at {{ practice.name }}",
    f"Dear {{{{ patient.given_name }}}},\n\nwe expect you on {_WHEN}.\n\n{{{{ practice.name }}}}",
)
_CONFIRM = (
    "Please confirm your appointment at {{ practice.name }}",
    f"Dear {{{{ patient.given_name }}}},\n\nplease confirm your appointment on {_WHEN}, or tell us that you cannot come.\n\n{{{{ practice.name }}}}",
)
_MOVED = (
    "Your appointment at {{ practice.name }} has moved",
    f"Dear {{{{ patient.given_name }}}},\n\nyour appointment is now on {_WHEN}.\n\n{{{{ practice.name }}}}",
)

ENTRIES = (
    Entry(
        "reminder-day-before",
        Category.REMINDERS,
        "Reminder 24 hours before",
        "Sends an e-mail a day before the appointment. It follows an appointment that moves and is not sent for one that is cancelled.",
        {
            "trigger": {
                "kind": "anchored",
                "anchor": {"of": "appointment.starts_at", "offset": "-P1D"},
                "past_due": {"policy": "proceed_if_left", "left": "PT2H"},
            },
            "condition": _HAS_MAIL,
            "steps": [mail("remind", *_DAY_BEFORE)],
        },
        (
            Blank("before", "How long before, with a minus", Kind.DURATION, "-P1D", ("/trigger/anchor/offset",)),
            Blank("left", "Still sent when so long is left", Kind.DURATION, "PT2H", ("/trigger/past_due/left",)),
            *mail_blanks("/steps/0", *_DAY_BEFORE),
        ),
    ),
    Entry(
        "reminder-evening-before",
        Category.REMINDERS,
        "Reminder at 18:00 the day before",
        "Sends an e-mail the evening before, in the appointment's time zone. Whoever books later than that gets none.",
        {
            "trigger": {
                "kind": "anchored",
                "anchor": {"of": "appointment.starts_at", "offset": "-P1D", "at": "18:00:00"},
                "past_due": {"policy": "skip"},
            },
            "condition": _HAS_MAIL,
            "steps": [mail("remind", *_EVENING)],
        },
        (Blank("at", "Time of day", Kind.TIME, "18:00:00", ("/trigger/anchor/at",)), *mail_blanks("/steps/0", *_EVENING)),
    ),
    Entry(
        "unconfirmed-call",
        Category.CALLS,
        "Unconfirmed: call two hours later",
        "Two days before, asks for a confirmation by e-mail. Without one the voice agent calls after two hours; when that fails, staff get a task.",
        {
            "trigger": {
                "kind": "anchored",
                "anchor": {"of": "appointment.starts_at", "offset": "-P2D"},
                "past_due": {"policy": "proceed_if_left", "left": "PT6H"},
            },
            "condition": f"appointment.status == 'booked' && {_HAS_PHONE}",
            "exit": [_CANCELLED],
            "steps": [
                mail("ask", *_CONFIRM) | {"when": _HAS_MAIL, "on_error": "skip"},
                {
                    "kind": "wait_for",
                    "id": "reply",
                    "events": [{"event": scheduling.AppointmentConfirmed.type}],
                    "about": "appointment",
                    "look_back": "P1D",
                    "timeout": "PT2H",
                },
                act("call", "start_call", variables={"appointment": _WHEN, "practice": "{{ practice.name }}"})
                | {
                    "when": "steps.reply.outcome == 'timed_out'",
                    "on_error": "branch",
                    "error_steps": [
                        act(
                            "task",
                            "create_task",
                            title="Confirm an appointment by phone",
                            text=f"Nobody confirmed the appointment on {_WHEN}.",
                        )
                    ],
                },
            ],
        },
        (
            Blank("before", "How long before, with a minus", Kind.DURATION, "-P2D", ("/trigger/anchor/offset",)),
            Blank("patience", "How long to wait for a reply", Kind.DURATION, "PT2H", ("/steps/1/timeout",)),
            *mail_blanks("/steps/0", *_CONFIRM),
        ),
    ),
    Entry(
        "appointment-moved",
        Category.APPOINTMENTS,
        "Appointment moved",
        "Tells the patient the new time by e-mail as soon as an appointment moves.",
        {
            "trigger": {"kind": "event", "event": scheduling.AppointmentRescheduled.type},
            "condition": _HAS_MAIL,
            "steps": [mail("tell", *_MOVED)],
        },
        mail_blanks("/steps/0", *_MOVED),
    ),
)
