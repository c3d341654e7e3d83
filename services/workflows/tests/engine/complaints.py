"""What people complain about in every product of this kind, one test each: part of the suite every engine passes."""

from __future__ import annotations

from datetime import timedelta

from libs.contracts.actions import Outcome
from libs.contracts.workflows import RunFinished
from services.workflows.tests.engine.driver import EngineDriver
from services.workflows.tests.engine.world import CONFIRMED, HOURS, Visit, booked, definition, heard, reminder, send, wait, wait_for

DAY = timedelta(days=1)


class ComplaintsSuite:
    async def test_runs_silently_abandoned(self, engine: EngineDriver) -> None:
        """The process dies between any two steps, and away it stays for a day: every run still comes to its end, and says so."""
        await engine.publish(definition(send("a"), wait(), wait_for(heard(CONFIRMED), timeout="PT4H"), send("b")))
        visits = [await booked(engine) for _ in range(5)]
        await engine.restart(away=DAY)
        for request in await engine.requests():
            await engine.answer(request, Outcome.SUCCEEDED)
            await engine.restart()
        await engine.restart(away=DAY)
        await engine.deliver(*(visit.confirmed() for visit in visits[:3]))
        await engine.restart(away=DAY)
        for request in await engine.requests():
            await engine.answer(request, Outcome.SUCCEEDED)
        assert [run.status for run in await engine.runs()] == ["completed"] * 5
        assert len(await engine.said(RunFinished)) == 5

    async def test_runs_stuck_running(self, engine: EngineDriver) -> None:
        """Nothing that can go wrong in a step leaves a run that runs for ever and waits for nothing."""
        await engine.publish(definition(send(text="{{ patient.email.size() }}")))
        await engine.publish(definition(send(when="patient.email.size() > 1")))
        branch = {"kind": "branch", "id": "which", "cases": [{"when": "patient.email.size() > 1", "steps": [send()]}], "otherwise": []}
        await engine.publish(definition(branch))
        await engine.publish(definition(wait_for(heard(CONFIRMED, "patient.email.size() > 1"), timeout="PT1H")))
        await engine.publish(definition(send("asked") | {"on_error": "branch", "error_steps": [send("again")]}))
        await booked(engine, Visit(email=None))
        await engine.pass_time(2 * HOURS)
        for _ in range(2):
            for request in await engine.requests():
                await engine.answer(request, Outcome.FAILED, "no_email")
        assert sorted(run.status for run in await engine.runs()) == ["completed", "failed", "failed", "failed", "failed"]
        assert {step[1] for run in await engine.runs() for step in run.steps} <= {"succeeded", "failed"}

    async def test_reminders_for_the_old_time_after_a_reschedule(self, engine: EngineDriver) -> None:
        await engine.publish(reminder("trigger"))
        await engine.publish(reminder("step"))
        visit = await booked(engine, Visit(starts_at=engine.now + 2 * DAY))
        await engine.deliver(visit.moved(engine.now + 6 * DAY))
        await engine.pass_time(3 * DAY)
        assert await engine.requests() == []
        await engine.pass_time(2 * DAY)
        assert len(await engine.requests()) == 2

    async def test_waits_that_miss_an_event_sent_just_before(self, engine: EngineDriver) -> None:
        """The patient confirms while the mail that asks for it is still on its way: in another batch, and in the same one."""
        await engine.publish(definition(send("ask"), wait_for(heard(CONFIRMED), look_back="PT1H"), send("thank")))
        before = await booked(engine)
        await engine.deliver(before.confirmed())
        beside = Visit()
        await engine.deliver(beside.registered(), beside.booked(), beside.confirmed())
        for request in await engine.requests():
            await engine.answer(request, Outcome.SUCCEEDED)
        thanked = [request.patient_id for request in await engine.requests() if request.step_id == "thank"]
        assert sorted(thanked, key=str) == sorted([before.patient_id, beside.patient_id], key=str)

    async def test_edits_that_change_runs_in_flight(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(definition(wait("PT2H"), send(subject="Old"), send("more", subject="Old")))
        await booked(engine)
        await engine.publish(definition(wait("PT9H"), send(subject="New")), workflow)
        await engine.restart()
        await engine.pass_time(2 * HOURS)
        (first,) = await engine.requests()
        await engine.edit(workflow, definition(send(subject="Newer")))
        await engine.unpublish(workflow)
        await engine.answer(first, Outcome.SUCCEEDED)
        assert [request.parameters["subject"] for request in await engine.requests()] == ["Old", "Old"]
        assert [run.version for run in await engine.runs()] == [1]

    async def test_pause_that_loses_messages(self, engine: EngineDriver) -> None:
        """An answer, a reschedule, a confirmation and a due time, all while the run is held."""
        await engine.publish(definition(send("ask"), wait_for(heard(CONFIRMED)), send("thank")))
        await engine.publish(reminder("trigger"))
        visit = await booked(engine, Visit(starts_at=engine.now + 3 * DAY))
        (asked,) = await engine.requests()
        for run in await engine.runs():
            await engine.pause(run.id)
        await engine.answer(asked, Outcome.SUCCEEDED)
        await engine.deliver(visit.moved(engine.now + 2 * DAY), visit.confirmed())
        await engine.restart(away=DAY + HOURS)
        assert len(await engine.requests()) == 1
        for run in await engine.runs():
            await engine.resume(run.id)
        assert sorted(request.step_id for request in await engine.requests()) == ["ask", "remind", "thank"]
