"""What is remembered of patients whom the filter of a schedule keeps out, every day, and what can still be said of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.common.work import Work
from libs.contracts.workflows import ScheduleReached
from services.workflows.commands import schedules
from services.workflows.commands.backtesting import Backtests
from services.workflows.rules.expressions.engines import ENGINES
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import Visit, practice_created, send
from services.workflows.tests.steering import Client, Headers

DAILY = {"trigger": {"kind": "schedule", "cron": "0 9 * * *", "for_each": "patient"}, "steps": [send()]}
WITH_EMAIL = {**DAILY, "condition": "patient.email != null"}


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    driver.now -= timedelta(days=3)
    await driver.learn_catalogue()
    await driver.deliver(practice_created(practice))
    return driver


async def kept_out(engine: BuiltinDriver, *others: Visit) -> tuple[UUID, Visit]:
    """A day of the schedule, for a patient without an address and these."""
    visit = Visit(email=None)
    await engine.deliver(visit.registered(), *(one.registered() for one in others))
    workflow = await engine.publish(WITH_EMAIL)
    engine.now += timedelta(days=1)
    await schedules.take_turns(engine.work, engine.published)
    engine.now += timedelta(minutes=1)
    return workflow, visit


async def forget_registrations(engine: BuiltinDriver) -> None:
    async with engine.work(engine.admin) as tx:
        await tx.execute("DELETE FROM event_log WHERE practice_id = $1 AND type <> $2", engine.practice, ScheduleReached.type)


async def why(client: Client, headers: Headers, workflow: UUID, visit: Visit) -> tuple[str, list[tuple[str, Any]], str | None]:
    """Of the last occasion: the verdict, the filter's values, and whether they are sure."""
    answer = await client.get("/v1/workflows/explanations", params={"patient_id": str(visit.patient_id)}, headers=headers)
    assert answer.status_code == 200, answer.text
    reached = next(one for one in answer.json()["items"] if one["type"] == ScheduleReached.type)
    (considered,) = (one for one in reached["workflows"] if one["workflow_id"] == str(workflow))
    return considered["verdict"], [(one["text"], one["value"]) for one in considered["filter"]], considered["unsure"]


class TestRemembering:
    async def test_nothing_is_kept_of_what_was_seen_of_those_a_filter_keeps_out(self, engine: BuiltinDriver) -> None:
        let_in = Visit()
        _, visit = await kept_out(engine, let_in)
        async with engine.work(engine.admin) as tx:
            rows = await tx.rows(
                "SELECT patient_id, seen FROM event_log WHERE practice_id = $1 AND type = $2", engine.practice, ScheduleReached.type
            )
        seen = {row["patient_id"]: row["seen"] for row in rows}
        assert seen[visit.patient_id] == {}
        assert seen[let_in.patient_id]["patient"]["email"] == let_in.email

    async def test_why_not_is_told_from_what_was_known_before(self, engine: BuiltinDriver, client: Client, as_admin: Headers) -> None:
        workflow, visit = await kept_out(engine)
        visit.email = "kim.lorenz@patients.example"
        await engine.deliver(visit.updated("email"))
        verdict, values, unsure = await why(client, as_admin, workflow, visit)
        assert (verdict, values[0], unsure) == ("filtered", ("patient.email != null", False), None)

    async def test_why_not_is_told_from_what_is_known_now_while_nothing_has_changed(
        self, engine: BuiltinDriver, client: Client, as_admin: Headers
    ) -> None:
        workflow, visit = await kept_out(engine)
        await forget_registrations(engine)
        verdict, values, unsure = await why(client, as_admin, workflow, visit)
        assert (verdict, values[0], unsure) == ("filtered", ("patient.email != null", False), None)
        visit.email = "kim.lorenz@patients.example"
        await engine.deliver(visit.updated("email"))
        assert await why(client, as_admin, workflow, visit) == ("filtered", [], "forgotten")


class TestBacktests:
    @pytest.mark.parametrize(("changed", "verdicts", "warnings"), [
        (False, {"started": 2}, []), (True, {"started": 1}, [{"code": "event_forgotten", "count": 1}]),
    ])  # fmt: skip
    async def test_let_in_whom_another_filter_would_have_let_in_as_far_as_they_are_remembered(
        self, engine: BuiltinDriver, client: Client, as_admin: Headers, changed: bool, verdicts: dict[str, int], warnings: list[Any]
    ) -> None:
        workflow, visit = await kept_out(engine, Visit())
        await engine.edit(workflow, DAILY)
        await forget_registrations(engine)
        if changed:
            await engine.deliver(visit.updated("phone"))
        asked = await client.post(f"/v1/workflows/{workflow}/backtests", json={"days": 5}, headers=as_admin)
        assert asked.status_code < 300, asked.text
        backtests = Backtests(engine.work, ENGINES["cel-cpp"])
        engine.now += timedelta(days=2, seconds=5)
        for _ in range(6):
            await backtests.round()
        result = (await client.get(f"/v1/backtests/{asked.json()['id']}", headers=as_admin)).json()["result"]
        assert (result["draft"]["verdicts"], result["warnings"]) == (verdicts, warnings)
