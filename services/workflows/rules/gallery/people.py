"""New patients, birthdays, and what staff have to see to."""

from __future__ import annotations

from libs.contracts import notifications, patients, scheduling
from services.workflows.rules.gallery.entry import Blank, Category, Entry, Kind, act, mail, mail_blanks

_HAS_MAIL = "patient.email != null"

_WELCOME = (
    "Welcome to {{ practice.name }}",
    "Dear {{ patient.given_name }},\n\nwelcome. We look forward to seeing you.\n\n{{ practice.name }}",
)
_BIRTHDAY = (
    "Greetings from {{ practice.name }}",
    "Dear {{ patient.given_name }},\n\nall of us wish you a happy birthday.\n\n{{ practice.name }}",
)
_INSURANCE = (
    "Something is missing before your next visit",
    "Dear {{ patient.given_name }},\n\nwe do not have the details of your insurance yet. Please send them to us.\n\n{{ practice.name }}",
)
_NOT_REACHED = (
    "We tried to call you",
    "Dear {{ patient.given_name }},\n\nwe tried to reach you by phone. Please call us back when it suits you.\n\n{{ practice.name }}",
)

_NO_29TH = (
    "(event.month_day == '02-28' && patient.birth_date.endsWith('02-29')"
    " && (timestamp(event.local_date + 'T00:00:00Z') + duration('24h')).getDate() == 1)"
)
"""Who was born on the 29th of February has no birthday in most years: the day before is theirs then."""


def _said(name: str) -> str:
    """A field of a call from outside, if it is there."""
    return f"{{{{ '{name}' in event.body ? event.body.{name} : 'not given' }}}}"


_ENQUIRY = f"Name: {_said('name')}\nPhone: {_said('phone')}\nE-mail: {_said('email')}\n\n{_said('message')}"

ENTRIES = (
    Entry(
        "new-patient-welcome",
        Category.PATIENTS,
        "Welcome for new patients",
        "Sends an e-mail to everybody who is registered. An import of many patients sends none.",
        {
            "trigger": {"kind": "event", "event": patients.PatientRegistered.type},
            "condition": _HAS_MAIL,
            "enrolment": {"policy": "once"},
            "steps": [mail("welcome", *_WELCOME)],
        },
        mail_blanks("/steps/0", *_WELCOME),
    ),
    Entry(
        "new-patient-call",
        Category.CALLS,
        "Call to new patients",
        "Has the voice agent call new patients at the next ten o'clock the practice is open. When that fails, staff get a task.",
        {
            "trigger": {"kind": "event", "event": patients.PatientRegistered.type},
            "condition": "patient.phone != null",
            "enrolment": {"policy": "once"},
            "steps": [
                {"kind": "wait_until", "id": "morning", "local": {"at": "10:00:00", "opening": True}},
                act("call", "start_call", variables={"practice": "{{ practice.name }}"})
                | {
                    "on_error": "branch",
                    "error_steps": [act("task", "create_task", title="Call a new patient", text="The call did not come about.")],
                },
            ],
        },
        (Blank("at", "Time of day", Kind.TIME, "10:00:00", ("/steps/0/local/at",)),),
    ),
    Entry(
        "birthday-greeting",
        Category.PATIENTS,
        "Birthday greeting",
        "Sends an e-mail in the morning of a patient's birthday.",
        {
            "trigger": {"kind": "schedule", "cron": "0 9 * * *", "for_each": "patient", "catch_up": "latest"},
            "condition": f"{_HAS_MAIL} && patient.birth_date != null && (patient.birth_date.endsWith(event.month_day) || {_NO_29TH})",
            "steps": [mail("greet", *_BIRTHDAY)],
        },
        (
            Blank("cron", "When to look, as cron writes it", Kind.LINE, "0 9 * * *", ("/trigger/cron",)),
            *mail_blanks("/steps/0", *_BIRTHDAY),
        ),
    ),
    Entry(
        "email-bounced",
        Category.STAFF,
        "E-mail came back: check the address",
        "When an e-mail cannot be delivered, or is marked as spam, staff get a task to check the address. At most once a week per patient.",
        {
            "trigger": {"kind": "event", "event": notifications.EmailStatusChanged.type},
            "condition": "event.patient_id != null && event.status in ['bounced', 'dropped', 'complained']",
            "enrolment": {"policy": "once", "again_after": "P7D"},
            "steps": [
                act("task", "create_task", title="Check an e-mail address", text="An e-mail to this patient came back: {{ event.status }}.")
            ],
        },
        (Blank("title", "Title of the task", Kind.LINE, "Check an e-mail address", ("/steps/0/parameters/title",)),),
    ),
    Entry(
        "insurance-missing",
        Category.STAFF,
        "Insurance details missing",
        "When staff tag a patient, asks for the details by e-mail; if the tag is still there after three days, staff get a task.",
        {
            "trigger": {"kind": "event", "event": patients.PatientTagged.type},
            "condition": 'event.tag == "insurance missing"',
            "enrolment": {"policy": "once_while_active"},
            "steps": [
                mail("ask", *_INSURANCE) | {"when": _HAS_MAIL, "on_error": "skip"},
                {
                    "kind": "wait_for",
                    "id": "details",
                    "events": [{"event": patients.PatientUntagged.type, "when": "event.tag_id == trigger.tag_id"}],
                    "timeout": "P3D",
                },
                act("task", "create_task", title="Ask for insurance details", text="The patient has not sent them yet.")
                | {"when": "steps.details.outcome == 'timed_out'"},
            ],
        },
        (
            Blank("tag", "Tag of missing details", Kind.LINE, "insurance missing", ("/condition",), "event.tag == {}"),
            Blank("patience", "How long to wait", Kind.DURATION, "P3D", ("/steps/1/timeout",)),
            *mail_blanks("/steps/0", *_INSURANCE),
        ),
    ),
    Entry(
        "double-booking",
        Category.STAFF,
        "Double booking",
        "When an appointment is booked at a time that is taken, staff get a task at once.",
        {
            "trigger": {"kind": "event", "event": scheduling.AppointmentBooked.type},
            "condition": "event.double_booked",
            "steps": [
                act(
                    "task",
                    "create_task",
                    title="Two appointments at one time",
                    text="An appointment was booked at a time that was taken already.",
                )
            ],
        },
        (Blank("title", "Title of the task", Kind.LINE, "Two appointments at one time", ("/steps/0/parameters/title",)),),
    ),
    Entry(
        "website-enquiry",
        Category.STAFF,
        "Enquiry from your website",
        "Your website calls this workflow with name, phone, email and message, signed with its secret; staff get a task with what was written.",
        {"trigger": {"kind": "webhook"}, "steps": [act("task", "create_task", title="New enquiry from the website", text=_ENQUIRY)]},
        (
            Blank("title", "Title of the task", Kind.LINE, "New enquiry from the website", ("/steps/0/parameters/title",)),
            Blank("text", "Text of the task", Kind.TEXT, _ENQUIRY, ("/steps/0/parameters/text",)),
        ),
    ),
    Entry(
        "call-not-reached",
        Category.CALLS,
        "Not reached by phone",
        "When the voice agent does not reach a patient, writes them an e-mail. At most once a day.",
        {
            "trigger": {"kind": "event", "event": scheduling.CallEnded.type},
            "condition": f"{_HAS_MAIL} && !event.connected && event.direction == 'outbound'",
            "enrolment": {"policy": "once", "again_after": "P1D"},
            "steps": [mail("write", *_NOT_REACHED)],
        },
        mail_blanks("/steps/0", *_NOT_REACHED),
    ),
)
