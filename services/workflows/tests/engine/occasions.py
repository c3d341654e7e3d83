"""Runs that start without an event, and a look at those that stand still: part of the suite every engine passes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.actions import Outcome
from libs.contracts.workflows import RunStuck
from services.workflows.commands.watchdog import NO_ANSWER, UNKNOWN
from services.workflows.tests.engine.driver import EngineDriver
from services.workflows.tests.engine.world import HAS_NO_EMAIL, HOURS, Kept, Visit, booked, definition, practice_created, send, wait

DAILY = {"kind": "schedule", "cron": "0 9 * * *"}


def by_hand(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"trigger": {"kind": "manual"}, "steps": list(steps or (send(),)), **more}


def act(action: str, workflow: UUID, **more: Any) -> dict[str, Any]:
    return {"kind": "action", "id": "act", "action": action, "parameters": {"workflow_id": str(workflow), **more}}


async def registered(engine: EngineDriver, *visits: Visit) -> list[UUID]:
    await engine.deliver(*(visit.registered() for visit in visits))
    return [visit.patient_id for visit in visits if visit.patient_id is not None]


class ByHandSuite:
    async def test_one_patient_gets_a_run_that_sees_what_was_passed_on(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(by_hand(send(text="{{ event.values.reason }}, {{ patient.given_name }}")))
        (patient,) = await registered(engine, Visit())
        assert await engine.start(workflow, patient_id=patient, values={"reason": "Recall"}) == "started"
        (request,) = await engine.requests()
        assert (request.patient_id, request.parameters["text"]) == (patient, "Recall, Kim")

    async def test_a_filter_reaches_everybody_it_finds_once(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(by_hand())
        found = await registered(engine, Visit(), Visit(), Visit())
        await registered(engine, Visit(email=None))
        await engine.start(workflow, filter="patient.email != null")
        assert sorted(request.patient_id for request in await engine.requests() if request.patient_id) == sorted(found)

    async def test_a_saved_filter_reaches_everybody_it_finds_by_now(self, engine: EngineDriver) -> None:
        workflow = await engine.publish(by_hand())
        with_mail, without = await registered(engine, Visit(), Visit(email=None))
        kept = Kept()
        await engine.deliver(kept.saved())
        await engine.start(workflow, saved_filter=kept.id)
        assert [request.patient_id for request in await engine.requests()] == [with_mail]
        await engine.deliver(kept.changed(condition=HAS_NO_EMAIL))
        await engine.start(workflow, saved_filter=kept.id, filter_version=2)
        assert [request.patient_id for request in await engine.requests()] == [with_mail, without]


class SchedulesSuite:
    async def test_every_time_once_for_the_practice_and_once_for_each_patient(self, engine: EngineDriver) -> None:
        await engine.deliver(practice_created(engine.practice))
        people = await registered(engine, Visit(), Visit())
        await engine.publish({"trigger": DAILY, "steps": [send("report")]})
        await engine.publish({"trigger": DAILY | {"for_each": "patient"}, "steps": [wait("PT1H"), send("each")]})
        await engine.pass_time(timedelta(days=1))
        for _ in range(2):
            await engine.take_turns()
        await engine.restart()
        await engine.take_turns()
        await engine.pass_time(2 * HOURS)
        asked = [(request.step_id, request.patient_id) for request in await engine.requests()]
        assert sorted(asked, key=str) == sorted([("report", None), *(("each", one) for one in people)], key=str)

    async def test_a_saved_filter_says_for_whom_each_time(self, engine: EngineDriver) -> None:
        await engine.deliver(practice_created(engine.practice))
        with_mail, without = await registered(engine, Visit(), Visit(email=None))
        kept = Kept()
        await engine.deliver(kept.saved())
        await engine.publish({"trigger": DAILY | {"for_each": "patient", "saved_filter": str(kept.id)}, "steps": [send()]})
        await engine.pass_time(timedelta(days=1))
        await engine.take_turns()
        assert [request.patient_id for request in await engine.requests()] == [with_mail]
        await engine.deliver(kept.changed(condition=HAS_NO_EMAIL))
        await engine.pass_time(timedelta(days=1))
        await engine.take_turns()
        assert [request.patient_id for request in await engine.requests()] == [with_mail, without]

    async def test_a_run_that_goes_on_is_not_overtaken(self, engine: EngineDriver) -> None:
        await engine.deliver(practice_created(engine.practice))
        await engine.publish({"trigger": DAILY | {"overlap": "skip"}, "steps": [wait("P3D")]})
        for _ in range(3):
            await engine.pass_time(timedelta(days=1))
            await engine.take_turns()
        assert len(await engine.runs()) == 1


class WebhooksSuite:
    async def test_a_call_from_outside_starts_one_run_however_often_it_comes(self, engine: EngineDriver) -> None:
        workflow = await engine.publish({"trigger": {"kind": "webhook"}, "steps": [send(text="{{ event.body.form }}")]})
        (patient,) = await registered(engine, Visit())
        for _ in range(2):
            await engine.called(workflow, "msg_1", {"form": "intake", "patient_id": str(patient)})
        (request,) = await engine.requests()
        assert (request.patient_id, request.parameters["text"]) == (patient, "intake")


class ChainsSuite:
    async def test_a_step_starts_another_workflow_for_the_patient(self, engine: EngineDriver) -> None:
        other = await engine.publish(by_hand(send(text="{{ event.values.why }}")))
        await engine.publish(definition(act("start_workflow", other, values={"why": "New here"}), send("after")))
        visit = await booked(engine)
        await engine.perform_own()
        sent = [request for request in await engine.requests() if request.action == "send_email"]
        assert [request.patient_id for request in sent] == [visit.patient_id] * 2
        assert {request.parameters["text"] for request in sent} == {"New here", "See you soon."}

    @pytest.mark.parametrize("times", [1, 2])
    async def test_a_step_stops_the_runs_of_another_and_goes_on(self, engine: EngineDriver, times: int) -> None:
        other = await engine.publish(by_hand(wait("P1D"), send("late")))
        visit = Visit()
        (patient,) = await registered(engine, visit)
        for _ in range(times):
            await engine.start(other, patient_id=patient)
        await engine.publish(definition(act("stop_workflow", other), send("after")))
        await engine.deliver(visit.booked())
        await engine.perform_own()
        await engine.pass_time(timedelta(days=2))
        assert [request.step_id for request in await engine.requests() if request.action == "send_email"] == ["after"]
        assert sorted(run.status for run in await engine.runs()) == ["cancelled"] * times + ["running"]


class WatchdogSuite:
    @pytest.mark.parametrize("answer", [None, Outcome.UNKNOWN], ids=["no answer", "unknown"])
    async def test_runs_stuck_running(self, engine: EngineDriver, answer: Outcome | None) -> None:
        """Raised once, never asked for again, and well when the answer comes."""
        await engine.publish(definition(send("first"), send("second")))
        await booked(engine)
        (request,) = await engine.requests()
        assert await engine.look_after() == 0
        if answer is not None:
            await engine.answer(request, answer)
        await engine.pass_time((NO_ANSWER if answer is None else UNKNOWN) + timedelta(minutes=1))
        assert [await engine.look_after() for _ in range(2)] == [1, 0]
        (stuck,) = await engine.said(RunStuck)
        assert isinstance(stuck, RunStuck)
        assert (stuck.step_id, stuck.code) == ("first", "no_answer" if answer is None else "unknown_outcome")
        assert len(await engine.requests()) == 1
        await engine.answer(request, Outcome.SUCCEEDED)
        assert await engine.look_after() == 0
        assert [one.step_id for one in await engine.requests()] == ["first", "second"]

    async def test_runs_silently_abandoned(self, engine: EngineDriver) -> None:
        """A timer that is gone comes back with the time it had."""
        await engine.publish(definition(wait("PT1H"), send()))
        await booked(engine)
        await engine.lose_timers()
        await engine.pass_time(timedelta(minutes=5))
        assert await engine.look_after() == 0
        await engine.pass_time(timedelta(minutes=50))
        assert await engine.requests() == []
        await engine.pass_time(timedelta(minutes=10))
        assert len(await engine.requests()) == 1
