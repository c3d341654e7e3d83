"""Runs that are held for a while and go on: part of the suite every engine passes."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from libs.common.errors import Conflict
from libs.contracts.actions import Outcome
from services.workflows.tests.engine.driver import EngineDriver
from services.workflows.tests.engine.world import (
    CONFIRMED,
    HOURS,
    UPDATED,
    Visit,
    booked,
    definition,
    heard,
    practice_created,
    reminder,
    send,
    wait,
    wait_for,
)

DAY = timedelta(days=1)


async def held(engine: EngineDriver) -> UUID:
    (run,) = await engine.runs()
    await engine.pause(run.id)
    return run.id


class HoldingSuite:
    async def test_an_answer_counts_and_nothing_begins_until_it_is_resumed(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("first"), send("second")))
        await booked(engine)
        run = await held(engine)
        (first,) = await engine.requests()
        await engine.answer(first, Outcome.SUCCEEDED)
        await engine.restart()
        assert len(await engine.requests()) == 1
        assert [run.steps for run in await engine.runs()] == [(("first", "succeeded"),)]
        await engine.resume(run)
        assert [request.step_id for request in await engine.requests()] == ["first", "second"]

    async def test_pausing_and_resuming_again_changes_nothing(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait(), send()))
        await booked(engine)
        run = await held(engine)
        await engine.pause(run)
        await engine.resume(run)
        await engine.resume(run)
        await engine.pass_time(2 * HOURS)
        assert len(await engine.requests()) == 1

    @pytest.mark.parametrize(("away", "steps"), [(1, "waiting"), (3, "succeeded")])
    async def test_a_wait_that_ends_meanwhile_ends_with_the_pause(self, engine: EngineDriver, away: int, steps: str) -> None:
        await engine.publish(definition(wait("PT2H"), send()))
        await booked(engine)
        run = await held(engine)
        await engine.pass_time(away * HOURS)
        assert [run.steps for run in await engine.runs()] == [(("pause", "waiting"),)]
        await engine.resume(run)
        assert (await engine.runs())[0].steps[0] == ("pause", steps)
        await engine.pass_time(2 * HOURS)
        assert len(await engine.requests()) == 1

    @pytest.mark.parametrize("form", ["trigger", "step"])
    @pytest.mark.parametrize(("policy", "count"), [("proceed", 1), ("skip", 0), ("PT20H", 1), ("PT22H", 0)])
    async def test_of_a_time_that_passed_meanwhile_its_policy_decides_when_it_is_resumed(
        self, engine: EngineDriver, form: str, policy: str, count: int
    ) -> None:
        await engine.publish(reminder(form, policy=policy))
        await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        run = await held(engine)
        await engine.pass_time(2 * DAY + 3 * HOURS)
        assert await engine.requests() == []
        await engine.resume(run)
        assert len(await engine.requests()) == count

    @pytest.mark.parametrize(("left", "count"), [("PT4H", 1), ("PT6H", 0)])
    async def test_moved_into_the_past_meanwhile_it_is_decided_when_it_is_resumed(
        self, engine: EngineDriver, left: str, count: int
    ) -> None:
        await engine.publish(reminder("trigger", policy=left))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        run = await held(engine)
        await engine.deliver(visit.moved(engine.now + 8 * HOURS))
        await engine.pass_time(3 * HOURS)
        assert [run.status for run in await engine.runs()] == ["running"]
        await engine.resume(run)
        assert len(await engine.requests()) == count

    async def test_an_appointment_that_moves_meanwhile_is_followed(self, engine: EngineDriver) -> None:
        await engine.publish(reminder("trigger", policy="skip"))
        visit = await booked(engine, Visit(starts_at=engine.now + 2 * DAY))
        run = await held(engine)
        await engine.deliver(visit.moved(engine.now + 5 * DAY))
        await engine.pass_time(2 * DAY)
        await engine.resume(run)
        await engine.pass_time(DAY)
        assert await engine.requests() == []
        await engine.pass_time(DAY)
        assert len(await engine.requests()) == 1

    async def test_it_may_be_cancelled_by_a_person_or_by_an_event(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait(), send()) | {"exit": [heard(CONFIRMED)]})
        visit = await booked(engine)
        await held(engine)
        await engine.deliver(visit.confirmed())
        assert [(run.status, run.error_code) for run in await engine.runs()] == [("cancelled", "exit_condition")]
        await booked(engine)
        for run in await engine.runs():
            if run.status == "running":
                await engine.pause(run.id)
                await engine.cancel(run.id)
                with pytest.raises(Conflict):
                    await engine.resume(run.id)
        assert [run.status for run in await engine.runs()] == ["cancelled", "cancelled"]

    async def test_events_that_come_meanwhile_count_for_this_wait_and_the_next(self, engine: EngineDriver) -> None:
        await engine.deliver(practice_created(engine.practice))
        await engine.publish(definition(wait_for(heard(UPDATED)), wait_for(heard(CONFIRMED), step="then"), send()))
        visit = await booked(engine)
        run = await held(engine)
        await engine.deliver(visit.updated("phone"))
        await engine.pass_time(HOURS)
        await engine.deliver(visit.confirmed())
        await engine.pass_time(HOURS)
        assert await engine.requests() == []
        await engine.resume(run)
        assert len(await engine.requests()) == 1

    async def test_an_attempt_that_falls_due_meanwhile_is_made_afterwards(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send() | {"retry": {"attempts": 2, "first": "PT1M"}}))
        await booked(engine)
        (request,) = await engine.requests()
        run = await held(engine)
        await engine.answer(request, Outcome.FAILED, "provider_down", retryable=True)
        await engine.pass_time(HOURS)
        assert len(await engine.requests()) == 1
        await engine.resume(run)
        assert len(await engine.requests()) == 2

    @pytest.mark.parametrize(("hours", "outcome"), [(0.5, "event"), (1, "event"), (2, "timed_out")])
    async def test_an_event_counts_if_it_came_before_the_time_out(self, engine: EngineDriver, hours: float, outcome: str) -> None:
        await engine.publish(definition(wait_for(heard(CONFIRMED), timeout="PT1H"), send(text="{{ steps.reply.outcome }}")))
        visit = await booked(engine)
        run = await held(engine)
        await engine.deliver_later(hours * HOURS, visit.confirmed())
        await engine.pass_time(5 * HOURS)
        await engine.resume(run)
        assert [request.parameters["text"] for request in await engine.requests()] == [outcome]
