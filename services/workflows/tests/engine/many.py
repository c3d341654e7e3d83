"""Whole workflows paused, runs steered by the thousand, run again: part of the suite every engine passes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from libs.common.errors import Conflict, Refused
from libs.contracts.actions import Outcome
from services.workflows.commands import pausing
from services.workflows.tests.engine.driver import EngineDriver
from services.workflows.tests.engine.world import HOURS, Visit, booked, definition, reminder, send, wait


async def several(engine: EngineDriver, count: int) -> list[Visit]:
    return [await booked(engine) for _ in range(count)]


async def all_fail(engine: EngineDriver, code: str) -> None:
    for request in await engine.requests():
        await engine.answer(request, Outcome.FAILED, code)


class PausedWorkflowsSuite:
    async def test_pause_that_loses_messages(self, engine: EngineDriver) -> None:
        """Runs in flight stand still, new ones are held, timers wait, answers count; resumed, everything goes on once."""
        workflow = await engine.publish(definition(send("first"), wait("PT1H"), send("second")))
        await several(engine, 2)
        assert await engine.pause_workflow(workflow) == 2
        await several(engine, 3)
        for request in await engine.requests():
            await engine.answer(request, Outcome.SUCCEEDED)
        await engine.pass_time(5 * HOURS)
        assert len(await engine.requests()) == 2
        await engine.restart()
        await engine.resume_workflow(workflow)
        for request in (await engine.requests())[2:]:
            await engine.answer(request, Outcome.SUCCEEDED)
        await engine.pass_time(2 * HOURS)
        asked = [(request.run_id, request.step_id) for request in await engine.requests()]
        assert len(asked) == len(set(asked)) == 2 * 5

    async def test_a_run_paused_by_itself_stays_paused(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(definition(wait("PT1H"), send()))
        await several(engine, 2)
        mine, other = (run.id for run in await engine.runs())
        await engine.pause_workflow(workflow)
        with pytest.raises(Conflict):
            await engine.resume(mine)
        await engine.pause(mine)
        await engine.resume_workflow(workflow)
        await engine.pass_time(2 * HOURS)
        assert [request.run_id for request in await engine.requests()] == [other]
        await engine.resume(mine)
        assert len(await engine.requests()) == 2

    async def test_a_reminder_whose_time_is_over_follows_its_policy(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(reminder("trigger", policy="skip"))
        await booked(engine, Visit(starts_at=engine.now + timedelta(days=3)))
        await engine.pause_workflow(workflow)
        await engine.pass_time(timedelta(days=2, hours=3))
        await engine.resume_workflow(workflow)
        await engine.pass_time(timedelta())
        assert ([run.status for run in await engine.runs()], await engine.requests()) == (["completed"], [])

    async def test_a_run_somebody_had_paused_and_resumes_meanwhile_goes_on_with_its_workflow(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(definition(send("first"), send("second")))
        await several(engine, 1)
        (run,) = await engine.runs()
        await engine.pause(run.id)
        await engine.answer((await engine.requests())[0], Outcome.SUCCEEDED)
        assert await engine.pause_workflow(workflow) == 0
        await engine.resume(run.id)
        await engine.pass_time(HOURS)
        assert [request.step_id for request in await engine.requests()] == ["first"]
        await engine.resume_workflow(workflow)
        assert [request.step_id for request in await engine.requests()] == ["first", "second"]

    @pytest.mark.parametrize("at_once", [1, 2])
    async def test_what_has_yet_to_be_marked_as_held_stands_still_as_well(
        self, engine: EngineDriver, monkeypatch: pytest.MonkeyPatch, at_once: int
    ) -> None:
        monkeypatch.setattr(pausing, "HELD_AT_ONCE", at_once)
        workflow = await engine.publish(definition(send("first"), wait("PT1H"), send("second")))
        await several(engine, 3)
        early = (await engine.requests())[:2]
        for request in early:
            await engine.answer(request, Outcome.SUCCEEDED)
        assert await engine.pause_workflow(workflow) == 3
        await engine.pass_time(2 * HOURS)
        await engine.answer((await engine.requests())[2], Outcome.SUCCEEDED)
        await engine.restart()
        assert (await engine.look_after(), len(await engine.requests())) == (0, 3)
        await engine.resume_workflow(workflow)
        await engine.pass_time(timedelta())
        assert sorted(request.run_id for request in (await engine.requests())[3:]) == sorted(request.run_id for request in early)
        await engine.pass_time(HOURS)
        assert [request.step_id for request in await engine.requests()] == ["first"] * 3 + ["second"] * 3


class BulkSuite:
    async def test_what_failed_alike_is_repaired_together(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(definition(send()))
        await several(engine, 4)
        for number, request in enumerate(await engine.requests()):
            await engine.answer(request, Outcome.FAILED, "mailbox_full" if number < 3 else "address_unknown")
        alike = {"workflow_id": str(workflow), "failed_step": "intake", "error_code": "mailbox_full"}
        assert [await engine.bulk("retry", fingerprint=alike) for _ in range(2)] == [3, 0]
        asked = await engine.requests()
        assert len(asked) == len({request.effect_key for request in asked}) == 7
        for request in asked[4:]:
            await engine.answer(request, Outcome.SUCCEEDED)
        assert sorted(run.status for run in await engine.runs()) == ["completed"] * 3 + ["failed"]

    async def test_pause_resume_and_cancel_by_filter(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(definition(wait("PT1H"), send()))
        await several(engine, 3)
        everything = {"workflow_id": str(workflow)}
        assert await engine.bulk("pause", filter=everything) == 3
        await engine.pass_time(2 * HOURS)
        assert await engine.requests() == []
        assert await engine.bulk("resume", filter=everything) == 3
        await engine.pass_time(timedelta())
        assert len(await engine.requests()) == 3
        assert await engine.bulk("cancel", filter=everything) == 3
        assert {run.status for run in await engine.runs()} == {"cancelled"}

    async def test_run_again_in_bulk_is_safe_to_repeat(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(definition(send()))
        await several(engine, 3)
        await all_fail(engine, "mailbox_full")
        for _ in range(2):
            await engine.bulk("rerun", filter={"workflow_id": str(workflow), "status": "failed"})
        assert len(await engine.requests()) == 6


class RerunSuite:
    async def test_the_version_in_force_or_a_chosen_one_and_its_effects_are_new_ones(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(definition(send(subject="Old")))
        await booked(engine)
        await engine.publish(definition(send(subject="New")), workflow)
        (first,) = await engine.runs()
        again = [await engine.rerun(first.id), await engine.rerun(first.id, 1)]
        asked = await engine.requests()
        assert [request.parameters["subject"] for request in asked] == ["Old", "New", "Old"]
        assert [request.run_id for request in asked] == [first.id, *again]
        assert len({request.effect_key for request in asked}) == 3

    async def test_a_condition_that_is_false_by_now_lets_nothing_begin(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(definition(send()))
        await booked(engine)
        await engine.publish(definition(send(), condition="event.title == 'Other'"), workflow)
        (run,) = await engine.runs()
        with pytest.raises(Refused):
            await engine.rerun(run.id)
        assert len(await engine.runs()) == 1
