"""Between Kafka's transaction and Temporal: nothing is lost by dying anywhere, and nothing repeated does anything twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from libs.common.work import Work
from libs.contracts.actions import Outcome
from libs.contracts.patients import PatientRegistered
from libs.contracts.scheduling import AppointmentConfirmed
from libs.contracts.workflows import RunStuck
from services.workflows.commands import jobs, schedules
from services.workflows.commands.bulk import BulkRuns, open_bulk
from services.workflows.commands.durable import advance_run
from services.workflows.commands.handover import ANSWERED_WITHIN, HAPPENED, SYSTEM, call_runs
from services.workflows.commands.manual import RequestRun, request_run
from services.workflows.commands.reruns import rerun_run
from services.workflows.commands.runs import RunNotFound
from services.workflows.commands.watchdog import GRACE, TAKEN_UP, look_after
from services.workflows.durable.activities import RunActivities
from services.workflows.queries.world import Key
from services.workflows.rules.expressions.engines import ENGINES
from services.workflows.rules.runs.orchestration import TEMPORAL, Called, Orchestration, RunRef, Standing
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.driver import Said
from services.workflows.tests.engine.world import (
    BOOKED,
    CONFIRMED,
    HOURS,
    UPDATED,
    Visit,
    booked,
    definition,
    heard,
    practice_created,
    send,
    wait,
    wait_for,
)
from services.workflows.tests.steering import by_hand, patients
from services.workflows.timers import jobs as kinds_of


class Listening:
    """An orchestrator that remembers who was called; ``away`` it hears nothing."""

    def __init__(self) -> None:
        self.heard: list[Called] = []
        self.away = False

    async def look(self, called: list[Called]) -> list[Called]:
        if self.away:
            return []
        self.heard += called
        return called


class HandOverDriver(BuiltinDriver):
    """Runs of the durable engine, brought on only when a test says so."""

    def prepare(self) -> HandOverDriver:
        self.hints = 0
        self.orchestration = Orchestration(TEMPORAL, self._hint)
        self.orchestrator = Listening()
        self._start()
        return self

    def _hint(self) -> None:
        self.hints += 1

    async def key(self) -> Key:
        (run,) = await self.runs()
        return self.practice, run.id

    async def advance(self, key: Key | None = None) -> Standing:
        practice_id, run_id = key or await self.key()
        return await RunActivities(self.work, self.published).advance(RunRef(str(practice_id), str(run_id)))

    async def call(self) -> list[Called]:
        """Whom of this practice the orchestrator hears of this time."""
        self.orchestrator.heard = []
        await call_runs(self.work, self.orchestrator)
        return [one for one in self.orchestrator.heard if one.practice_id == self.practice]

    async def inputs(self) -> list[Any]:
        """What waits to be taken up, in order."""
        async with self.work.batch([self.practice], SYSTEM) as tx:
            return await tx.rows("SELECT run_id, kind FROM run_input WHERE practice_id = $1 ORDER BY seq", self.practice)

    async def count(self, table: str) -> int:
        async with self.work.batch([self.practice], SYSTEM) as tx:
            found: int = await tx.value(f"SELECT count(*) FROM {table} WHERE practice_id = $1", self.practice)
            return found


@pytest.fixture
async def engine(work: Work) -> HandOverDriver:
    driver = HandOverDriver(work.engine).prepare()
    await driver.learn_catalogue()
    return driver


class TestHandingOver:
    async def test_keeps_the_start_and_asks_for_nothing_yet(self, engine: HandOverDriver) -> None:
        await engine.publish(definition())
        await booked(engine)
        (run,) = await engine.runs()
        assert (run.status, run.steps) == ("running", ())
        assert await engine.requests() == []
        assert (await engine.count("run_input"), await engine.count("run_call")) == (1, 1)
        assert engine.hints > 0

    async def test_what_is_kept_is_taken_up_once(self, engine: HandOverDriver) -> None:
        await engine.publish(definition())
        await booked(engine)
        for _ in range(3):
            assert await engine.advance() == Standing(ended=False)
        assert len(await engine.requests()) == 1
        assert (await engine.count("run_input"), await engine.count("run_call")) == (0, 0)

    async def test_dying_before_the_commit_leaves_everything_to_be_taken_up(self, engine: HandOverDriver) -> None:
        await engine.publish(definition())
        await booked(engine)
        with pytest.raises(ConnectionError):
            await self._die(await engine.key(), engine)
        assert await engine.requests() == []
        await engine.advance()
        assert len(await engine.requests()) == 1

    @staticmethod
    async def _die(key: Key, engine: HandOverDriver) -> None:
        async with engine.work.batch([engine.practice], SYSTEM) as tx:
            await advance_run(key, engine.published, tx)
            await tx.flush()
            raise ConnectionError

    async def test_answers_and_events_are_taken_up_in_the_order_they_came(self, engine: HandOverDriver) -> None:
        awaits = {
            "kind": "wait_for", "id": "confirmed", "events": [{"event": AppointmentConfirmed.type}], "about": "appointment", "timeout": "PT1H",
        }  # fmt: skip
        await engine.publish(definition(send("first"), awaits, send("second"), event=BOOKED))
        visit = await booked(engine)
        await engine.advance()
        (request,) = await engine.requests()
        await engine.answer(request, Outcome.SUCCEEDED)
        await engine.deliver(visit.confirmed())  # nobody waits for it yet: the answer is still to be taken up
        assert await engine.count("run_input") == 2
        await engine.advance()
        assert [request.step_id for request in await engine.requests()] == ["first", "second"]

    async def test_of_one_batch_all_is_kept_that_comes_behind_what_a_run_waits_for(self, engine: HandOverDriver) -> None:
        await engine.publish(definition(wait_for(heard(UPDATED)), wait_for(heard(CONFIRMED), step="then"), send()))
        visit, other = await booked(engine), Visit()
        (first,) = await engine.runs()
        await engine.advance()
        await engine.deliver(visit.confirmed())
        assert await engine.count("run_input") == 0  # it waits for news of the patient first
        await engine.deliver(other.registered(), visit.updated("phone"), other.booked(), visit.confirmed(), other.confirmed())
        kept = [row for row in await engine.inputs() if row["run_id"] == first.id]
        assert [row["kind"] for row in kept] == [HAPPENED, HAPPENED]
        await engine.advance((engine.practice, first.id))
        assert [request.patient_id for request in await engine.requests()] == [visit.patient_id]

    async def test_a_wait_begins_when_its_input_came_not_when_it_is_taken_up(self, engine: HandOverDriver) -> None:
        await engine.publish(definition(wait("PT2H"), send()))
        await booked(engine)
        engine.now += HOURS
        assert (await engine.advance()).seconds == pytest.approx(3600)

    async def test_a_run_that_was_erased_has_ended(self, engine: HandOverDriver) -> None:
        assert await engine.advance((engine.practice, engine.practice)) == Standing(ended=True)

    async def test_what_people_do_is_seen_at_once_after_what_was_waiting(self, engine: HandOverDriver) -> None:
        await engine.publish(definition(send(), wait()))
        await booked(engine)
        await engine.cancel((await engine.key())[1])
        (run,) = await engine.runs()
        assert (run.status, run.steps[0]) == ("cancelled", ("intake", "requested"))
        assert len(await engine.call()) == 1  # Temporal learns that it is over
        assert await engine.advance() == Standing(ended=True)

    async def test_what_people_do_to_no_effect_leaves_the_run_to_be_called(self, engine: HandOverDriver) -> None:
        await engine.publish(definition(wait(), send()))
        await booked(engine)
        key = await engine.key()
        await engine.resume(key[1])  # it is not paused, but has taken up its start
        assert (await engine.count("run_input"), await engine.count("durable_timer")) == (0, 1)
        assert [one.run_id for one in await engine.call()] == [key[1]]

    async def test_who_is_suppressed_is_asked_for_nothing_that_was_waiting(self, engine: HandOverDriver) -> None:
        await engine.publish(definition(send(), wait(), send("again")))
        begun, waiting = await booked(engine), await booked(engine)
        for run in await engine.runs():
            await engine.advance((engine.practice, run.id))
        asked = await engine.requests()
        for request in asked:
            await engine.answer(request, Outcome.SUCCEEDED)
        unbegun = await booked(engine)
        for visit in (begun, waiting, unbegun):
            assert visit.patient_id is not None
            await engine.suppress(visit.patient_id)
        for run in await engine.runs():
            assert await engine.advance((engine.practice, run.id)) == Standing(ended=True)
        assert await engine.requests() == asked
        assert {(run.status, run.error_code) for run in await engine.runs()} == {("cancelled", "suppressed")}
        assert sorted(run.steps for run in await engine.runs()) == [(), (("intake", "succeeded"),), (("intake", "succeeded"),)]
        assert (await engine.count("run_input"), await engine.count("durable_timer")) == (0, 0)

    async def test_nobody_can_cancel_what_is_not_there(self, engine: HandOverDriver) -> None:
        with pytest.raises(RunNotFound):
            await engine.cancel(engine.practice)


class TestTimers:
    async def test_ring_when_their_time_has_come_and_not_before(self, engine: HandOverDriver) -> None:
        await engine.publish(definition(wait("PT2H"), send()))
        await booked(engine)
        assert (await engine.advance()).seconds == pytest.approx(7200)
        engine.now += HOURS
        assert (await engine.advance()).seconds == pytest.approx(3600)  # a ring that is early
        engine.now += HOURS
        assert await engine.advance() == Standing(ended=False)
        assert await engine.advance() == Standing(ended=False)  # and one that is late
        assert len(await engine.requests()) == 1

    async def test_are_not_ours_to_fire(self, engine: HandOverDriver) -> None:
        await engine.publish(definition(wait("PT2H"), send()))
        await booked(engine)
        await engine.advance()
        assert (await engine.count("timer"), await engine.count("durable_timer")) == (0, 1)
        await engine.pass_time(3 * HOURS)
        assert await engine.requests() == []

    async def test_of_a_held_run_do_not_ring(self, engine: HandOverDriver) -> None:
        await engine.publish(definition(wait("PT2H"), send()))
        await booked(engine)
        await engine.pause((await engine.key())[1])
        engine.now += 3 * HOURS
        assert await engine.advance() == Standing(ended=False)
        await engine.resume((await engine.key())[1])
        await engine.advance()
        assert len(await engine.requests()) == 1

    async def test_that_nobody_rang_are_noticed(self, engine: HandOverDriver) -> None:
        await engine.publish(definition(wait("PT2H"), send()))
        await booked(engine)
        await engine.advance()
        assert await engine.call() == []
        engine.now += 2 * HOURS + 2 * ANSWERED_WITHIN
        assert len(await engine.call()) == 1

    async def test_that_are_gone_come_back(self, engine: HandOverDriver) -> None:
        await engine.publish(definition(wait("PT2H"), send()))
        await booked(engine)
        await engine.advance()
        async with engine.work.batch([engine.practice], SYSTEM) as tx:
            await tx.execute("DELETE FROM durable_timer WHERE practice_id = $1", engine.practice)
        engine.now += GRACE * 2
        found = await look_after([engine.practice], engine.work, engine.published)
        assert (found.repaired, found.raised) == (1, 0)
        assert len(await engine.call()) == 1
        assert (await engine.advance()).seconds == pytest.approx((2 * HOURS - GRACE * 2).total_seconds())
        assert (await look_after([engine.practice], engine.work, engine.published)).repaired == 0


class TestCalling:
    @pytest.fixture
    async def called(self, engine: HandOverDriver) -> HandOverDriver:
        await engine.publish(definition())
        await booked(engine)
        return engine

    async def test_calls_once_and_again_when_nothing_comes_of_it(self, called: HandOverDriver) -> None:
        assert len(await called.call()) == 1
        assert await called.call() == []
        called.now += ANSWERED_WITHIN + timedelta(seconds=1)
        assert len(await called.call()) == 1
        await called.advance()
        called.now += 2 * ANSWERED_WITHIN
        assert await called.call() == []

    async def test_waits_while_temporal_is_away(self, called: HandOverDriver) -> None:
        called.orchestrator.away = True
        assert await called.call() == []
        called.orchestrator.away = False
        assert len(await called.call()) == 1

    async def test_a_call_that_comes_while_one_is_on_its_way_is_not_lost(self, called: HandOverDriver) -> None:
        class Meanwhile(Listening):
            async def look(self, told: list[Called]) -> list[Called]:
                await called.advance()
                (request,) = await called.requests()
                await called.answer(request, Outcome.SUCCEEDED)
                return await super().look(told)

        await call_runs(called.work, Meanwhile())
        assert len(await called.call()) == 1

    async def test_leaves_suspended_practices_alone_until_they_are_active(self, called: HandOverDriver) -> None:
        await called.suspend()
        assert await called.call() == []
        assert await called.advance() == Standing(ended=False)
        assert await called.requests() == []
        await called.suspend(suspended=False)
        assert len(await called.call()) == 1
        await called.advance()
        assert len(await called.requests()) == 1


class TestWhoDidIt:
    async def test_what_had_waited_is_not_the_deed_of_who_came_by(self, engine: HandOverDriver, outbox_actors: Any) -> None:
        await engine.publish(definition(send(), wait()))
        await booked(engine)
        await engine.cancel((await engine.key())[1])
        actors = await outbox_actors(engine)
        assert actors["vantage.notifications.perform-action.v1"] == SYSTEM.actor
        assert actors["vantage.workflows.run-finished.v1"] == engine.admin.actor


@pytest.fixture
def outbox_actors() -> Callable[[HandOverDriver], Any]:
    async def actors(engine: HandOverDriver) -> dict[str, str]:
        async with engine.work.batch([engine.practice], SYSTEM) as tx:
            rows = await tx.rows("SELECT type, actor FROM outbox WHERE practice_id = $1", engine.practice)
        return {row["type"]: row["actor"] for row in rows}

    return actors


class TestASilentEngine:
    async def looked(self, engine: HandOverDriver, after: timedelta = timedelta()) -> list[str]:
        """What is raised about runs of this practice, all in all."""
        engine.now += after
        await look_after([engine.practice], engine.work, engine.published)
        return [stuck.code for stuck in await engine.said(RunStuck) if isinstance(stuck, RunStuck)]

    async def test_that_is_away_is_raised_once_and_forgotten_when_it_is_back(self, engine: HandOverDriver) -> None:
        await engine.publish(definition())
        await booked(engine)
        engine.orchestrator.away = True
        for _ in range(int(TAKEN_UP / timedelta(minutes=1))):
            assert await engine.call() == []
            assert await self.looked(engine, timedelta(minutes=1)) == []
        assert await self.looked(engine, timedelta(minutes=1)) == ["engine_silent"]
        assert await self.looked(engine, timedelta(hours=15)) == ["engine_silent"]
        assert await engine.count("stuck") == 1
        await engine.advance()
        await self.looked(engine)
        assert await engine.count("stuck") == 0

    async def test_whose_every_attempt_fails_is_raised_although_it_hears(self, engine: HandOverDriver) -> None:
        await engine.publish(definition())
        await booked(engine)
        told = 0
        for _ in range(int(TAKEN_UP / ANSWERED_WITHIN) + 1):
            told += len(await engine.call())
            engine.now += ANSWERED_WITHIN + timedelta(seconds=1)
        assert told > 1
        assert await self.looked(engine) == ["engine_silent"]

    async def test_that_nobody_runs_any_more_is_raised_when_a_timer_does_not_ring(self, engine: HandOverDriver) -> None:
        """The address of Temporal is gone from the settings, and runs on it are left."""
        await engine.publish(definition(wait("PT1H"), send()))
        await booked(engine)
        await engine.advance()
        assert await self.looked(engine, timedelta(hours=1) + TAKEN_UP) == []
        assert await self.looked(engine, timedelta(minutes=1)) == ["engine_silent"]
        await engine.advance()
        await self.looked(engine)
        assert await engine.count("stuck") == 0

    async def test_is_not_silent_while_a_run_is_held(self, engine: HandOverDriver) -> None:
        await engine.publish(definition(wait("PT1H"), send()))
        await booked(engine)
        await engine.advance()
        (run,) = await engine.runs()
        await engine.pause(run.id)
        await engine.advance()
        assert await self.looked(engine, timedelta(days=1)) == []


class TestLoadClasses:
    """Runs begun as one of many do not stand before those somebody waits for. It says nothing about what may start them."""

    async def classes(self, engine: HandOverDriver) -> set[bool]:
        """Of the runs that are called now; they are brought on."""
        called = await engine.call()
        for one in called:
            await engine.advance((one.practice_id, one.run_id))
        return {one.bulk for one in called}

    async def work_off(self, engine: HandOverDriver) -> None:
        do = kinds_of(ENGINES["cel-cpp"], engine.published)
        for _ in range(10):
            engine.now += timedelta(seconds=5)
            await jobs.work_on(engine.work, do)

    async def test_of_one_event_one_wish_and_a_schedule_of_the_practice_are_live(self, engine: HandOverDriver) -> None:
        await engine.publish(definition())
        await booked(engine)
        assert await self.classes(engine) == {False}
        await engine.deliver(practice_created(engine.practice))
        await engine.publish({"trigger": {"kind": "schedule", "cron": "0 9 * * *"}, "steps": [wait()]})
        engine.now += timedelta(days=1)
        await schedules.take_turns(engine.work, engine.published)
        workflow = await engine.publish(by_hand())
        async with engine.work(engine.admin) as tx:
            await request_run(workflow, RequestRun(), ENGINES["cel-cpp"], engine.published, tx)
        assert await self.classes(engine) == {False}
        assert len(await engine.runs()) == 3

    async def test_of_a_job_over_patients_and_of_its_bulk_rerun_are_bulk(self, engine: HandOverDriver) -> None:
        await patients(engine, 2)
        workflow = await engine.publish(by_hand())
        async with engine.work(engine.admin) as tx:
            await request_run(workflow, RequestRun(filter="true"), ENGINES["cel-cpp"], engine.published, tx)
        await self.work_off(engine)
        assert await self.classes(engine) == {True}
        async with engine.work(engine.admin) as tx:
            await open_bulk(BulkRuns.model_validate({"verb": "cancel", "filter": {"workflow_id": str(workflow)}}), tx)
        await self.work_off(engine)
        await self.classes(engine)
        async with engine.work(engine.admin) as tx:
            await open_bulk(BulkRuns.model_validate({"verb": "rerun", "filter": {"workflow_id": str(workflow)}}), tx)
        await self.work_off(engine)
        assert await self.classes(engine) == {True}
        assert len(await engine.runs()) == 4

    async def test_of_a_bulk_rerun_are_bulk_and_of_a_single_one_are_live(self, engine: HandOverDriver) -> None:
        workflow = await engine.publish(definition(send(when="false")))
        await booked(engine)
        assert await self.classes(engine) == {False}
        async with engine.work(engine.admin) as tx:
            await open_bulk(BulkRuns.model_validate({"verb": "rerun", "filter": {"workflow_id": str(workflow)}}), tx)
        await self.work_off(engine)
        assert await self.classes(engine) == {True}
        (first, _) = await engine.runs()
        async with engine.work(engine.admin) as tx:
            await rerun_run(first.id, None, engine.published, tx)
        assert await self.classes(engine) == {False}

    async def test_of_a_schedule_for_each_patient_are_bulk(self, engine: HandOverDriver) -> None:
        await engine.deliver(practice_created(engine.practice))
        await patients(engine, 2)
        await engine.publish({"trigger": {"kind": "schedule", "cron": "0 9 * * *", "for_each": "patient"}, "steps": [wait()]})
        engine.now += timedelta(days=1)
        await schedules.take_turns(engine.work, engine.published)
        assert await self.classes(engine) == {True}
        assert len(await engine.runs()) == 2

    async def test_of_an_import_are_bulk_and_only_of_what_asks_for_such(self, engine: HandOverDriver) -> None:
        registered = {"event": PatientRegistered.type}
        await engine.publish({"trigger": registered, "steps": [wait()]})
        await engine.publish({"trigger": registered | {"bulk": True}, "steps": [wait()]})
        said = Visit().registered()
        assert isinstance(said.message, PatientRegistered)
        await engine.deliver(Said(said.id, said.message.model_copy(update={"bulk": True})))
        assert await self.classes(engine) == {True}
        assert len(await engine.runs()) == 1
