"""Timers of the built-in engine: once each, on time, whatever dies and however many claim."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from libs.common import telemetry
from libs.common.work import Work
from libs.testing.probe import until_async
from services.workflows import timers
from services.workflows.commands import timers as firing
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.runs import advance_runs
from services.workflows.commands.serial import free_turns, one_at_a_time
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import CONFIRMED, Visit, anchor, definition, reminder, send, wait


@pytest.fixture
async def engine(work: Work) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine)
    await driver.learn_catalogue()
    return driver


async def waiting_runs(engine: BuiltinDriver, count: int) -> None:
    await engine.publish(definition(wait("PT1H"), send()))
    visits = [Visit() for _ in range(count)]
    await engine.deliver(*(visit.registered() for visit in visits), *(visit.booked() for visit in visits))


async def pending(engine: BuiltinDriver) -> list[Any]:
    async with engine.work.batch([], firing.SYSTEM) as tx:
        return await tx.rows("SELECT due_at FROM timer WHERE practice_id = $1", engine.practice)


class TestFiring:
    async def test_several_workers_fire_each_timer_once(self, engine: BuiltinDriver) -> None:
        await waiting_runs(engine, 500)
        engine.now += timedelta(hours=1)
        workers = [PublishedWorkflows() for _ in range(4)]
        while await pending(engine):
            await asyncio.gather(*(firing.fire_due(engine.work, published) for published in workers))
        assert len(await engine.requests()) == 500
        assert len({request.effect_key for request in await engine.requests()}) == 500

    async def test_dying_before_the_commit_leaves_the_timer_to_fire_once(
        self, engine: BuiltinDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await waiting_runs(engine, 3)
        engine.now += timedelta(hours=1)
        advance = firing._advance

        async def and_die(*args: Any) -> None:
            await advance(*args)
            raise asyncio.CancelledError

        with monkeypatch.context() as patch:
            patch.setattr(firing, "_advance", and_die)
            with pytest.raises(asyncio.CancelledError):
                await firing.fire_due(engine.work, engine.published)
        assert len(await pending(engine)) == 3
        assert await engine.requests() == []
        await engine.restart()
        await engine.pass_time(timedelta())
        assert len(await engine.requests()) == 3
        assert await pending(engine) == []

    async def test_a_timer_that_cannot_fire_is_postponed_and_the_others_fire(
        self, engine: BuiltinDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await waiting_runs(engine, 3)
        bad = (await engine.runs())[1].id
        engine.now += timedelta(hours=1)

        async def with_one_bad(inputs: Any, *args: Any) -> Any:
            if any(key[1] == bad for key, _, _ in inputs):
                message = "a fault of ours"
                raise ZeroDivisionError(message)
            return await advance_runs(inputs, *args)

        with monkeypatch.context() as patch:
            patch.setattr(firing, "advance_runs", with_one_bad)
            await firing.fire_due(engine.work, engine.published)
        assert len(await engine.requests()) == 2
        (left,) = await pending(engine)
        assert left["due_at"] == engine.now + timedelta(seconds=firing.POSTPONE_SECONDS)
        await engine.pass_time(timedelta(seconds=firing.POSTPONE_SECONDS))
        assert len(await engine.requests()) == 3

    async def test_a_timer_firing_while_its_run_is_cancelled_ends_one_way(self, engine: BuiltinDriver) -> None:
        await waiting_runs(engine, 1)
        (run,) = await engine.runs()
        engine.now += timedelta(hours=1)
        await asyncio.gather(engine.cancel(run.id), firing.fire_due(engine.work, engine.published))
        (run,) = await engine.runs()
        assert run.status == "cancelled"
        assert await pending(engine) == []
        assert run.steps[0] in {("pause", "cancelled"), ("pause", "succeeded")}
        assert len(await engine.requests()) == (1 if run.steps[0][1] == "succeeded" else 0)


class TestWaking:
    async def test_the_duty_comes_back_when_the_next_timer_is_due(self, engine: BuiltinDriver) -> None:
        await waiting_runs(engine, 1)
        engine.now += timedelta(hours=1) - timedelta(milliseconds=300)
        assert await timers.fire_timers(engine.work, engine.published) == pytest.approx(0.3)
        engine.now += timedelta(milliseconds=300)
        await timers.fire_timers(engine.work, engine.published)
        assert len(await engine.requests()) == 1

    async def test_a_due_timer_in_other_hands_is_not_waited_for_in_a_tight_loop(self, engine: BuiltinDriver) -> None:
        await waiting_runs(engine, 1)
        engine.now += timedelta(hours=2)
        assert await firing.seconds_until_next(engine.work) == firing.HELD_ELSEWHERE_SECONDS
        await engine.pass_time(timedelta())


class TestTrace:
    async def test_what_follows_a_wait_is_a_trace_of_its_own_linked_to_the_first(
        self, engine: BuiltinDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("test"))
        await waiting_runs(engine, 1)
        async with engine.work(engine.admin) as tx:
            begun = await tx.row("SELECT traceparent, correlation_id FROM run WHERE practice_id = $1", engine.practice)
        assert begun is not None
        await engine.pass_time(timedelta(hours=1))
        async with engine.work(engine.admin) as tx:
            asked = await tx.row(
                "SELECT traceparent, correlation_id FROM outbox WHERE practice_id = $1 AND type LIKE '%perform-action%'", engine.practice
            )
        assert asked is not None
        (span,) = [span for span in exporter.get_finished_spans() if span.name == "timer fired"]
        assert_links(span, begun["traceparent"])
        assert asked["correlation_id"] == begun["correlation_id"]
        assert f"{span.context.trace_id:032x}" == asked["traceparent"].split("-")[1] != begun["traceparent"].split("-")[1]


def assert_links(span: ReadableSpan, traceparent: str) -> None:
    assert span.parent is None
    (link,) = span.links
    assert f"{link.context.trace_id:032x}" == traceparent.split("-")[1]


class TestTurns:
    async def test_a_worker_passes_by_a_practice_another_one_is_at(self, engine: BuiltinDriver) -> None:
        busy, free = uuid4(), uuid4()
        async with engine.work.batch([], firing.SYSTEM) as first, engine.work.batch([], firing.SYSTEM) as second:
            assert await free_turns([busy], 25, first) == [busy]
            assert await free_turns([busy, free], 25, second) == [free]

    async def test_a_claim_leaves_practices_for_other_workers(self, engine: BuiltinDriver) -> None:
        practices = [uuid4() for _ in range(5)]
        async with engine.work.batch([], firing.SYSTEM) as first, engine.work.batch([], firing.SYSTEM) as second:
            assert await free_turns(practices, 2, first) == practices[:2]
            assert await free_turns(practices, 2, second) == practices[2:4]

    async def test_practices_that_are_busy_otherwise_are_left_out_but_the_first_is_waited_for(self, engine: BuiltinDriver) -> None:
        longest, busy = uuid4(), uuid4()
        async with engine.work.batch([], firing.SYSTEM) as timers_:
            async with engine.work.batch([], firing.SYSTEM) as consumer:
                await one_at_a_time([busy, longest], consumer)
                waiting = asyncio.create_task(free_turns([longest, busy], 25, timers_))
                await one_at_a_time([busy], consumer)
            assert longest in await waiting


class TestFairness:
    async def test_a_flood_of_one_practice_does_not_hold_up_another(self, engine: BuiltinDriver, work: Work) -> None:
        """Whatever is due earlier by the thousand, the other's timer is in the next claim."""
        await engine.pass_time(timedelta(hours=3))  # timers that other tests left would have their share
        await waiting_runs(engine, 2500)
        other = BuiltinDriver(work.engine)
        other.now = engine.now + timedelta(minutes=1)
        await other.learn_catalogue()
        await waiting_runs(other, 3)
        engine.now += timedelta(hours=2)
        fired = await firing.fire_due(engine.work, engine.published)
        assert len(await other.requests()) == 3
        assert (fired, len(await engine.requests())) == (firing.CLAIM, firing.CLAIM - 3)
        await engine.pass_time(timedelta())
        assert len(await engine.requests()) == 2500


async def overdue(work: Work, practices: int, each: int, now: datetime) -> list[BuiltinDriver]:
    """So many practices whose timers have all been due for half an hour."""
    found = []
    for _ in range(practices):
        one = BuiltinDriver(work.engine)
        one.now = now - timedelta(minutes=90)
        await waiting_runs(one, each)
        one.now = now
        found.append(one)
    return found


class TestCatchingUp:
    """After downtime: past-due policies are followed, and the pace leaves room for everybody else."""

    async def test_overdue_timers_come_in_bounded_claims_and_each_once(self, engine: BuiltinDriver) -> None:
        await no_other_timers(engine)
        await waiting_runs(engine, 2 * firing.CLAIM + 50)
        engine.now += timedelta(hours=5)
        claims = []
        while (fired := await firing.fire_due(engine.work, engine.published)) > 0:
            claims.append(fired)
        assert claims == [firing.CLAIM, firing.CLAIM, 50]
        asked = [request.effect_key for request in await engine.requests()]
        assert (len(asked), len({*asked})) == (450, 450)

    async def test_while_claims_are_full_the_duty_comes_back_at_once_and_then_when_something_is_due(self, engine: BuiltinDriver) -> None:
        await no_other_timers(engine)
        await waiting_runs(engine, firing.CLAIM + 1)
        engine.now += timedelta(hours=5)
        pauses = [await timers.fire_timers(engine.work, engine.published) for _ in range(2)]
        assert pauses[0] == 0.0
        assert pauses[1] is None or pauses[1] > 0

    async def test_a_timer_that_is_due_now_is_not_behind_the_backlogs_of_all_practices(self, engine: BuiltinDriver, work: Work) -> None:
        await no_other_timers(engine)
        behind = await overdue(work, firing.SHARE + 15, 12, engine.now)
        (fresh,) = await overdue(work, 1, 1, engine.now + timedelta(minutes=30))
        fresh.now = engine.now
        assert await firing.fire_due(engine.work, engine.published) == firing.CLAIM
        assert len(await fresh.requests()) == 1
        while await firing.fire_due(engine.work, engine.published):
            pass
        assert {len(await one.requests()) for one in behind} == {12}

    async def test_who_waits_longest_is_in_every_claim_however_many_are_on_time(self, engine: BuiltinDriver, work: Work) -> None:
        await no_other_timers(engine)
        await waiting_runs(engine, 60)
        engine.now += timedelta(hours=5)
        await overdue(work, 2 * firing.SHARE, 12, engine.now)
        asked = [0]
        while asked[-1] < 60:
            await firing.fire_due(engine.work, engine.published)
            asked.append(len(await engine.requests()))
            assert asked[-1] > asked[-2]

    async def test_what_happens_meanwhile_gets_its_turn_between_two_claims(
        self, engine: BuiltinDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await no_other_timers(engine)
        await waiting_runs(engine, 3 * firing.CLAIM)
        await engine.publish(definition(send("live"), event=CONFIRMED))
        visit = Visit()
        await engine.deliver(visit.registered())
        engine.now += timedelta(hours=5)
        advance, arriving = firing._advance, list[asyncio.Task[None]]()

        async def while_somebody_arrives(*args: Any) -> None:
            if not arriving:
                arriving.append(asyncio.create_task(engine.deliver(visit.confirmed())))
                await until_async(lambda: waiting_for_a_turn(engine), within=10)
            await advance(*args)

        monkeypatch.setattr(firing, "_advance", while_somebody_arrives)
        while await firing.fire_due(engine.work, engine.published):
            pass
        await arriving[0]
        asked = [request.step_id for request in await engine.requests()]
        assert (len(asked), asked.index("live")) == (3 * firing.CLAIM + 1, firing.CLAIM)

    @pytest.mark.parametrize(("policy", "sent"), [("proceed", 60), ("skip", 0), ("PT1H", 30)])
    async def test_past_due_policies_are_followed(self, engine: BuiltinDriver, policy: str, sent: int) -> None:
        await engine.publish(reminder("trigger", anchor("-PT4H"), policy))
        near, far = engine.now + timedelta(hours=6), engine.now + timedelta(hours=8)
        visits = [Visit(starts_at=near if place % 2 else far) for place in range(60)]
        await engine.deliver(*(visit.registered() for visit in visits), *(visit.booked() for visit in visits))
        await engine.restart(away=timedelta(hours=5, minutes=30))  # half an hour is left to one half, two and a half hours to the other
        assert len(await engine.requests()) == sent
        assert {run.status for run in await engine.runs()} <= {"running", "completed"}
        assert await pending(engine) == []


async def no_other_timers(engine: BuiltinDriver) -> None:
    """Those that other tests left would have their share."""
    async with engine.work.batch([], firing.SYSTEM) as tx:
        await tx.execute("DELETE FROM timer")


async def waiting_for_a_turn(engine: BuiltinDriver) -> bool:
    async with engine.work.batch([], firing.SYSTEM) as tx:
        return bool(await tx.value("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"))
