"""Waits, exits and actions that nothing ever meets: said before they are published, with the step and what may help."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.work import Work
from libs.contracts.patients import PatientUpdated
from libs.contracts.practices import UserAdded
from services.workflows.rules.definitions.analysis import Surrounding, analysed
from services.workflows.rules.definitions.calendar import calendar_of
from services.workflows.rules.definitions.definition import Definition
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import BOOKED, CONFIRMED, definition, heard, practice_created, send, until, wait, wait_for
from services.workflows.tests.test_api import Headers

ADDED, UPDATED = UserAdded.type, PatientUpdated.type
OFFERED: dict[str, dict[str, Any]] = {"send_email": {"needs_person": True}, "create_task": {}}
NOW = datetime(2030, 1, 7, tzinfo=UTC)
WEEKDAYS = [{"day": "monday", "opens": "09:00", "closes": "17:00"}, {"day": "tuesday", "opens": "09:00", "closes": "12:00"}]
TASK = {"kind": "action", "id": "task", "action": "create_task", "parameters": {}}


def scheduled(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return definition(*steps) | {"trigger": {"kind": "schedule", "cron": "0 9 * * *", **fields}}


def said(data: dict[str, Any], hours: list[dict[str, str]] | None = None) -> list[tuple[str, str, str | None]]:
    calendar = None if hours is None else calendar_of({"time_zone": "Europe/Berlin", "opening_hours": hours})
    found = analysed(Definition.model_validate(data), Surrounding(uuid4(), "Mine", OFFERED, calendar=calendar, now=NOW))
    assert all(one.severity == "warning" and one.hint for one in found)
    return [(one.code, one.pointer, one.step) for one in found]


class TestWaits:
    def test_about_a_patient_when_the_trigger_names_none(self) -> None:
        for data in (definition(wait_for(heard(BOOKED)), event=ADDED), scheduled(wait_for(heard(BOOKED)))):
            assert said(data) == [("never_met", "/steps/0/about", "reply")]

    def test_for_an_event_that_names_no_patient(self) -> None:
        data = definition(wait_for(heard(CONFIRMED), heard(ADDED), about="patient"))
        assert ("never_counts", "/steps/0/events/1/event", "reply") in said(data)

    def test_about_an_appointment_for_an_event_that_names_none(self) -> None:
        data = definition(wait_for(heard(UPDATED), about="appointment"))
        assert said(data) == [("never_counts", "/steps/0/events/0/event", "reply")]

    @pytest.mark.parametrize(
        "data",
        [
            definition(wait_for(heard(UPDATED))),
            scheduled(wait_for(heard(BOOKED)), for_each="patient"),
            definition(wait_for(heard(UPDATED))) | {"trigger": {"kind": "manual"}},
            definition(wait_for(heard(UPDATED))) | {"trigger": {"kind": "webhook"}},
            definition(wait_for(heard(CONFIRMED), about="appointment")),
        ],
    )
    def test_what_may_be_met_is_not_mentioned(self, data: dict[str, Any]) -> None:
        assert said(data) == []


class TestExits:
    def test_by_an_event_that_names_nobody(self) -> None:
        assert said(definition(wait()) | {"exit": [heard(UPDATED), heard(ADDED)]}) == [("never_counts", "/exit/1/event", None)]

    def test_of_a_run_that_is_about_nobody(self) -> None:
        for data in (definition(wait(), event=ADDED), scheduled(wait())):
            assert said(data | {"exit": [heard(UPDATED)]}) == [("never_met", "/exit", None)]


class TestActions:
    def test_a_mail_when_nobody_is_named(self) -> None:
        for data in (scheduled(send()), definition(send(), event=ADDED)):
            assert said(data) == [("no_patient", "/steps/0/action", "intake")]

    def test_a_mail_to_each_patient_or_a_task_for_the_staff(self) -> None:
        assert said(scheduled(send(), for_each="patient")) == []
        assert said(scheduled(TASK)) == []


class TestLocalTimes:
    @pytest.mark.parametrize(
        "local",
        [
            {"opening": True, "not_between": ["08:00", "18:00"]},
            {"opening": True, "at": "20:00"},
            {"opening": True, "at": "09:00", "days": [7]},
            {"opening": True, "days": [2], "not_between": ["09:00", "12:00"]},
            {"opening": True, "not_between": ["08:00", "18:00"], "zone": "patient"},
        ],
    )
    def test_that_never_come_while_the_practice_opens_as_it_does(self, local: dict[str, Any]) -> None:
        assert said(definition(until(**local)), WEEKDAYS) == [("no_such_time", "/steps/0/local", "morning")]
        assert said(definition(until(**local)), []) == []

    @pytest.mark.parametrize(
        "local",
        [
            {"opening": True},
            {"opening": True, "not_between": ["08:00", "16:59"]},
            {"at": "20:00"},
            {"opening": True, "at": "11:00", "days": [2]},
        ],
    )
    def test_that_come_are_not_mentioned(self, local: dict[str, Any]) -> None:
        assert said(definition(until(**local)), WEEKDAYS) == []

    def test_no_days_and_quiet_hours_of_no_length_are_not_what_they_look_like(self) -> None:
        assert said(definition(until(at="09:00", days=[]))) == [("empty_days", "/steps/0/local/days", "morning")]
        empty = until(at="09:00", not_between=["00:00", "00:00"])
        assert said(definition(empty)) == [("empty_quiet_hours", "/steps/0/local/not_between", "morning")]
        assert said(definition(until(at="09:00", days=[1], not_between=["22:00", "06:00"]))) == []


class TestThroughTheService:
    async def test_validation_knows_the_practices_hours(
        self, client: httpx.AsyncClient, as_admin: Headers, work: Work, practice: UUID
    ) -> None:
        never = definition(until(opening=True, not_between=["08:00", "18:00"]), wait())
        created = await client.post("/v1/workflows", json={"name": "Never", "definition": never}, headers=as_admin)

        async def findings() -> list[tuple[str, str]]:
            answer = await client.post(f"/v1/workflows/{created.json()['id']}/validate", headers=as_admin)
            assert answer.json()["publishable"]
            return [(one["code"], one["step"]) for one in answer.json()["findings"]]

        assert await findings() == []
        await BuiltinDriver(work.engine, practice).deliver(practice_created(practice, [("monday", "09:00", "17:00")]))
        assert await findings() == [("no_such_time", "morning")]
