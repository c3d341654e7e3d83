"""The stories that are kept: one for each thing a run may meet."""

from __future__ import annotations

from typing import Any

from services.workflows.tests.engine.world import CONFIRMED, UPDATED, anchor, definition, heard, reminder, send, until, wait, wait_for

EVENT: dict[str, Any] = {
    "appointment_id": "0190a0a0-0000-7000-8000-00000000000a", "patient_id": "0190a0a0-0000-7000-8000-00000000000b", "version": 1,
    "status": "booked", "source": "calcom", "resource": "calcom/1", "title": "First visit", "starts_at": "2030-04-02T08:00:00+00:00",
    "ends_at": "2030-04-02T08:30:00+00:00", "time_zone": "Europe/Berlin", "double_booked": False,
    "attendee": {"name": "Kim Lorenz", "email": "kim.lorenz@patients.example", "phone": None},
}  # fmt: skip
PATIENT = {
    "id": EVENT["patient_id"], "given_name": "Kim", "family_name": "Lorenz", "email": "kim.lorenz@patients.example", "phone": None,
    "birth_date": None, "time_zone": "America/New_York",
}  # fmt: skip
PRACTICE = {
    "id": "0190a0a0-0000-7000-8000-00000000000c", "name": "Elm Street Practice", "time_zone": "Europe/Berlin",
    "opening_hours": [{"day": "monday", "opens": "08:00", "closes": "12:00"}, {"day": "wednesday", "opens": "14:00", "closes": "18:00"}],
    "holidays": [{"first": "2030-04-01", "last": "2030-04-01"}],
}  # fmt: skip
APPOINTMENT = {
    "id": EVENT["appointment_id"], "status": "booked", "title": "First visit", "source": "calcom", "time_zone": "Europe/Berlin",
    "starts_at": EVENT["starts_at"], "ends_at": EVENT["ends_at"],
}  # fmt: skip
KNOWN = {"patient": PATIENT, "practice": PRACTICE, "appointment": APPOINTMENT}


def at(time: str, kind: str, known: dict[str, Any] | None = None, **words: Any) -> dict[str, Any]:
    """Something happened at this time of March 2030 (``day hour:minute``)."""
    day, _, hour = time.partition(" ")
    scene: dict[str, Any] = {"at": f"2030-03-{day}T{hour}:00+00:00", "input": {"is": kind, **words}}
    return scene if known is None else scene | {"known": known}


def begun(time: str = "28 10:00") -> dict[str, Any]:
    return at(time, "Started", KNOWN)


def answered(time: str, step: str, outcome: str = "succeeded", **more: Any) -> dict[str, Any]:
    return at(time, "StepResult", step_id=step, outcome=outcome, **more)


def moved(time: str, starts_at: str, status: str = "booked") -> dict[str, Any]:
    return at(time, "AppointmentChanged", {"appointment": {**APPOINTMENT, "starts_at": starts_at, "status": status}})


def story(steps: dict[str, Any], *happened: dict[str, Any], paused: bool = False) -> dict[str, Any]:
    return {"definition": steps, "event": EVENT, "paused": paused, "happened": list(happened)}


_PATIENT_RETRY = {"retry": {"attempts": 3, "first": "PT1M", "factor": 2.0, "limit": "PT1H"}}
_BRANCH = {
    "kind": "branch", "id": "which",
    "cases": [{"when": "event.double_booked", "steps": [send("sorry")]}, {"when": "patient.phone == null", "steps": [send("ask_phone")]}],
    "otherwise": [{"kind": "stop", "id": "enough"}],
}  # fmt: skip

STORIES: dict[str, dict[str, Any]] = {
    "actions_and_a_wait": story(
        definition(send("a", text="Dear {{ patient.given_name }}, {{ event.starts_at }}"), wait("PT2H", "b"), send("c", when="false"), send("d")),
        begun(), answered("28 10:01", "a", result={"message_id": "m"}), at("28 12:01", "TimerFired", step_id="b"),
        at("28 12:01", "TimerFired", step_id="b"), answered("28 12:02", "d", "unknown"), answered("28 12:03", "d"),
    ),
    "a_failure_that_passes": story(
        definition(send("a") | _PATIENT_RETRY, send("b", text="{{ steps.a.outcome }}")),
        begun(), answered("28 10:01", "a", "failed", error_code="provider_down", retryable=True),
        answered("28 10:01", "a"), at("28 10:02", "TimerFired", step_id="a"), answered("28 10:03", "a", attempt=1), answered("28 10:04", "b"),
    ),
    "a_failure_that_stays_and_is_tried_again": story(
        definition(send("a") | _PATIENT_RETRY, send("b")),
        begun(), answered("28 10:01", "a", "failed", error_code="down", retryable=True),
        at("28 10:02", "TimerFired", step_id="a"), answered("28 10:03", "a", "failed", error_code="down", attempt=1),
        at("28 11:00", "Retried"), answered("28 11:01", "a", attempt=2), answered("28 11:02", "b"),
    ),
    "all_its_attempts_once_more": story(
        definition(send("a") | {"retry": {"attempts": 2, "first": "PT1M", "factor": 2.0, "limit": "PT1H"}}, send("b")),
        begun(), answered("28 10:01", "a", "failed", error_code="down", retryable=True),
        at("28 10:02", "TimerFired", step_id="a"), answered("28 10:03", "a", "failed", error_code="down", attempt=1, retryable=True),
        at("28 11:00", "Retried"), answered("28 11:01", "a", "failed", error_code="down", attempt=2, retryable=True),
        at("28 11:02", "TimerFired", step_id="a"), answered("28 11:03", "a", attempt=3), answered("28 11:04", "b"),
    ),
    "tried_again_for_a_time_that_moved": story(
        reminder("trigger", condition="patient.email != null"), begun(), moved("28 11:00", "2030-03-31T08:00:00+00:00"),
        at("30 08:00", "TimerFired", step_id="@anchor"), answered("30 08:01", "remind", "failed", error_code="down"),
        moved("30 09:00", "2030-04-05T08:00:00+00:00"), at("30 10:00", "Retried"), moved("30 11:00", "2030-04-01T09:00:00+00:00"),
        at("31 09:00", "TimerFired", step_id="@anchor"), answered("31 09:01", "remind", attempt=1),
    ),
    "tried_again_while_held": story(
        reminder("step", policy="PT2H"), begun(), moved("28 11:00", "2030-03-31T08:00:00+00:00"),
        at("30 08:00", "TimerFired", step_id="before"), answered("30 08:01", "remind", "failed", error_code="down"),
        at("30 10:00", "Retried", held=True), at("30 11:00", "Resumed"), answered("30 11:01", "remind", attempt=1),
    ),
    "steps_for_a_failure": story(
        definition(send("a") | {"on_error": "branch", "error_steps": [send("rescue")]}, send("b") | {"on_error": "skip"}),
        begun(), answered("28 10:01", "a", "failed", error_code="no_email"), answered("28 10:02", "rescue"),
        answered("28 10:03", "b", "failed", error_code="no_email"),
    ),
    "a_branch": story(definition(_BRANCH, send("after")), begun(), answered("28 10:01", "ask_phone"), answered("28 10:02", "after")),
    "a_reminder_that_follows": story(
        reminder("trigger", anchor("-P1D", at="18:00"), "PT2H", condition="patient.email != null"),
        begun(), moved("29 09:00", "2030-04-05T08:00:00+00:00"), moved("29 10:00", "2030-03-31T08:00:00+00:00"),
        at("30 17:00", "TimerFired", step_id="@anchor"), answered("30 17:01", "remind"),
    ),
    "a_reminder_that_is_over": story(
        reminder("step", policy="PT12H"), begun(), moved("29 09:00", "2030-03-29T16:00:00+00:00"),
    ),
    "a_reminder_of_nothing": story(reminder("trigger"), begun(), moved("29 09:00", EVENT["starts_at"], "cancelled")),
    "local_times": story(
        definition(until("hers", at="09:00", zone="patient"), until("open", opening=True), until("calm", not_between=["16:00", "08:00"])),
        begun(), at("28 13:00", "TimerFired", step_id="hers"), at("31 10:00", "TimerFired", step_id="open"),
    ),
    "the_first_of_two_events": story(
        definition(wait_for(heard(UPDATED), heard(CONFIRMED), look_back="PT1H"), send("a", text="{{ steps.reply.number }}")),
        begun(), at("28 11:00", "EventArrived", step_id="reply", number=1, data={"version": 2}, id="e"),
        at("28 11:00", "EventArrived", step_id="reply", number=0, data={"version": 3}, id="f"), answered("28 11:01", "a"),
    ),
    "an_event_that_never_comes": story(
        definition(wait_for(heard(CONFIRMED), timeout="PT6H"), send("a", text="{{ steps.reply.outcome }}")),
        begun(), at("28 16:00", "TimerFired", step_id="reply"),
    ),
    "held_and_gone_on": story(
        definition(wait_for(heard(UPDATED)), wait_for(heard(CONFIRMED), step="then"), send("a")),
        begun(), at("28 10:30", "Paused"), at("28 11:00", "EventArrived", step_id="reply", number=0, data={}, id="e"),
        at("28 12:00", "Resumed"), at("28 12:00", "EventArrived", step_id="then", number=0, data={}, id="f"),
    ),
    "held_past_its_time": story(
        reminder("trigger", policy="skip"), begun(), at("28 11:00", "Paused"), moved("29 09:00", "2030-03-29T12:00:00+00:00"),
        at("30 09:00", "Resumed"), at("30 09:00", "TimerFired", step_id="@anchor"),
    ),
    "begun_while_held": story(definition(send("a"), send("b")), begun(), at("28 11:00", "Resumed"), answered("28 11:01", "a"), paused=True),
    "cancelled_while_it_asks": story(definition(send("a"), send("b")), begun(), at("28 11:00", "Cancelled", reason="exit_condition"), answered("28 11:01", "a")),
    "cancelled_while_it_waits": story(definition(wait("PT2H", "a"), send("b")), begun(), at("28 11:00", "Cancelled"), at("28 12:00", "TimerFired", step_id="a")),
    "an_expression_that_fails": story(definition(send("a", text="{{ patient.phone.size() }}")), begun(), at("28 11:00", "Retried", {"patient": {**PATIENT, "phone": "+49301"}})),
}  # fmt: skip
