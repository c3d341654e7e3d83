"""Schedules: every time once, for everybody once, whatever dies and however many take turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from libs.common.work import Work
from libs.contracts.patients import FilterVisibility
from libs.contracts.practices import PracticeChanged
from libs.contracts.workflows import RunStarted, ScheduleReached
from services.workflows import timers
from services.workflows.commands import schedules
from services.workflows.commands.checks import DefinitionRefused
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.driver import Said
from services.workflows.tests.engine.world import Kept, Visit, practice_created, send, wait

MONDAY = datetime(2031, 3, 3, 6, 30, tzinfo=UTC)


@pytest.fixture
async def engine(work: Work) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine)
    driver.now = MONDAY
    await driver.learn_catalogue()
    await driver.deliver(practice_created(driver.practice))
    return driver


def by_the_clock(*steps: dict[str, Any], condition: str | None = None, **trigger: Any) -> dict[str, Any]:
    """Every day at nine in Berlin, unless told otherwise."""
    found = {"trigger": {"kind": "schedule", "cron": "0 9 * * *", **trigger}, "steps": list(steps or (wait(),))}
    return found if condition is None else {**found, "condition": condition}


async def registered(engine: BuiltinDriver, count: int) -> list[Visit]:
    visits = [Visit() for _ in range(count)]
    await engine.deliver(*(visit.registered() for visit in visits))
    return visits


async def turns(engine: BuiltinDriver, work: Work | None = None) -> None:
    """Until no schedule of the practice is due, time standing still but for the pace between chunks."""
    for _ in range(200):
        await schedules.take_turns(work or engine.work, engine.published)
        due = await row(engine)
        if due is None or due["due_at"] > engine.now + schedules.PACE:
            return
        engine.now = max(engine.now, due["due_at"])


async def row(engine: BuiltinDriver) -> Any:
    async with engine.work(engine.admin) as tx:
        return await tx.row("SELECT * FROM schedule WHERE practice_id = $1", engine.practice)


async def patients_of_runs(engine: BuiltinDriver) -> list[Any]:
    async with engine.work(engine.admin) as tx:
        return [one["patient_id"] for one in await tx.rows("SELECT patient_id FROM run WHERE practice_id = $1", engine.practice)]


class TestSavedFilter:
    """Runs for the patients a shared filter finds at each time."""

    async def test_finds_its_patients_chunk_by_chunk_and_keeps_nothing_of_the_others(self, engine: BuiltinDriver) -> None:
        kept = Kept({"blocks": {"all": [{"field": "patient.tags", "operator": "contains", "value": "Recall"}]}})
        await engine.deliver(kept.saved())
        visits = await registered(engine, 2 * schedules.CHUNK + 30)
        meant = visits[::20]
        await engine.deliver(*(visit.tagged("Recall") for visit in meant))
        await engine.publish(by_the_clock(for_each="patient", saved_filter=str(kept.id)))
        engine.now += timedelta(days=1)
        await turns(engine)
        assert sorted(await patients_of_runs(engine)) == sorted(visit.patient_id for visit in meant if visit.patient_id)
        async with engine.work(engine.admin) as tx:
            kinds = "SELECT count(*) FROM event_log WHERE practice_id = $1 AND type = $2"
            assert await tx.value(kinds, engine.practice, ScheduleReached.type) == len(meant)

    @pytest.mark.parametrize("how", ["gone", "private", "unusable"])
    async def test_that_is_no_more_starts_nothing_and_keeps_the_time(self, engine: BuiltinDriver, how: str) -> None:
        kept = Kept()
        await engine.deliver(kept.saved())
        await registered(engine, 2)
        workflow = await engine.publish(by_the_clock(for_each="patient", saved_filter=str(kept.id)))
        ends: dict[str, Callable[[], Said]] = {
            "gone": kept.removed, "private": partial(kept.changed, visibility=FilterVisibility.PRIVATE),
            "unusable": partial(kept.changed, condition={"blocks": {"all": [{"field": "patient.gone", "operator": "is_empty"}]}}),
        }  # fmt: skip
        await engine.deliver(ends[how]())
        engine.now += timedelta(days=1)
        await turns(engine)
        assert (await engine.runs(), (await row(engine))["postponed"]) == ([], 1)
        other = Kept()
        await engine.deliver(other.saved())
        await engine.publish(by_the_clock(for_each="patient", saved_filter=str(other.id)), workflow)
        engine.now += schedules.POSTPONED
        await turns(engine)
        assert len(await engine.runs()) == 2

    @pytest.mark.parametrize(
        ("kept", "code"),
        [
            (None, "unknown_filter"),
            (Kept(visibility=FilterVisibility.PRIVATE), "unknown_filter"),
            (Kept({"blocks": {"all": [{"field": "patient.gone", "operator": "is_empty"}]}}), "unusable_filter"),
        ],
    )
    async def test_that_finds_nobody_is_not_published(self, engine: BuiltinDriver, kept: Kept | None, code: str) -> None:
        if kept is not None:
            await engine.deliver(kept.saved())
        with pytest.raises(DefinitionRefused) as refused:
            await engine.publish(by_the_clock(for_each="patient", saved_filter=str(kept.id if kept else uuid4())))
        assert [(error["code"], error["pointer"]) for error in refused.value.details["errors"]] == [(code, "/trigger/saved_filter")]

    async def test_needs_patients_to_be_for(self, engine: BuiltinDriver) -> None:
        with pytest.raises(DefinitionRefused) as refused:
            await engine.publish(by_the_clock(saved_filter=str(uuid4())))
        assert [error["code"] for error in refused.value.details["errors"]] == ["filter_of_nobody"]


class TestTimes:
    async def test_a_time_starts_one_run_in_the_practices_zone(self, engine: BuiltinDriver) -> None:
        await engine.publish(by_the_clock(send(when="event.weekday == 1 && event.month_day == '03-03'"), wait()))
        await turns(engine)
        assert await engine.runs() == []
        engine.now = datetime(2031, 3, 3, 8, 0, tzinfo=UTC)
        await turns(engine)
        (run,) = await engine.runs()
        (reached,) = await engine.said(ScheduleReached)
        assert isinstance(reached, ScheduleReached)
        assert (run.status, reached.due_at, reached.weekday) == ("running", engine.now, 1)
        assert (await row(engine))["due_at"] == datetime(2031, 3, 4, 8, 0, tzinfo=UTC)

    async def test_the_event_said_is_the_one_the_run_names(self, engine: BuiltinDriver) -> None:
        await engine.publish(by_the_clock())
        engine.now += timedelta(days=1)
        await turns(engine)
        (started,) = await engine.said(RunStarted)
        assert isinstance(started, RunStarted)
        async with engine.work(engine.admin) as tx:
            said = await tx.value("SELECT id FROM outbox WHERE practice_id = $1 AND type = $2", engine.practice, ScheduleReached.type)
        assert said == started.trigger_event_id

    async def test_schedules_firing_twice(self, engine: BuiltinDriver) -> None:
        """Four processes, the same due times, again and again."""
        for _ in range(3):
            await engine.publish(by_the_clock(overlap="allow"))
        processes = [PublishedWorkflows() for _ in range(4)]
        for _ in range(5):
            engine.now += timedelta(days=1)
            for _ in range(3):
                await asyncio.gather(*(schedules.take_turns(engine.work, published) for published in processes))
        assert len(await engine.runs()) == 15
        assert len(await engine.said(ScheduleReached)) == 15

    async def test_a_time_that_was_due_is_not_forgotten_by_publishing_again(self, engine: BuiltinDriver) -> None:
        workflow = await engine.publish(by_the_clock())
        engine.now = datetime(2031, 3, 3, 8, 0, 1, tzinfo=UTC)
        await engine.publish(by_the_clock(cron="0 9 * * 2"), workflow)
        await turns(engine)
        assert [run.version for run in await engine.runs()] == [2]

    async def test_a_time_zone_that_changes_moves_the_times(self, engine: BuiltinDriver) -> None:
        await engine.publish(by_the_clock())
        elsewhere = PracticeChanged(
            changed_practice_id=engine.practice, changed=["time_zone"], name="Elm Street Practice", time_zone="America/New_York", version=2
        )  # fmt: skip
        await engine.deliver(Said(uuid4(), elsewhere))
        assert (await row(engine))["due_at"] == datetime(2031, 3, 3, 14, 0, tzinfo=UTC)

    async def test_nine_in_the_morning_stays_nine_when_the_clocks_change(self, engine: BuiltinDriver) -> None:
        engine.now = datetime(2031, 3, 29, 9, 0, tzinfo=UTC)  # Berlin moves its clocks on the 30th
        await engine.publish(by_the_clock(overlap="allow"))
        for day, hour in ((30, 7), (31, 7)):
            engine.now = datetime(2031, 3, day, hour, 0, tzinfo=UTC)
            await turns(engine)
        reached = [one.due_at for one in await engine.said(ScheduleReached) if isinstance(one, ScheduleReached)]
        assert [(at.day, at.hour) for at in reached] == [(30, 7), (31, 7)]

    @pytest.mark.parametrize(("catch_up", "count"), [("none", 0), ("latest", 1), ("all", 5)])
    async def test_missed_times_follow_the_catch_up_policy(self, engine: BuiltinDriver, catch_up: str, count: int) -> None:
        await engine.publish(by_the_clock(send(when="false"), catch_up=catch_up))
        engine.now += timedelta(days=5)
        await turns(engine)
        assert len(await engine.runs()) == count
        assert (await row(engine))["due_at"] == datetime(2031, 3, 8, 8, 0, tzinfo=UTC)

    @pytest.mark.parametrize(("overlap", "count"), [("skip", 1), ("allow", 3)])
    async def test_a_run_that_goes_on_is_overlapped_or_not(self, engine: BuiltinDriver, overlap: str, count: int) -> None:
        await engine.publish(by_the_clock(wait("P10D"), overlap=overlap, catch_up="all"))
        engine.now += timedelta(days=3)
        await turns(engine)
        assert len(await engine.runs()) == count

    async def test_unpublished_and_suspended_workflows_start_nothing(self, engine: BuiltinDriver) -> None:
        workflow = await engine.publish(by_the_clock())
        await engine.suspend()
        engine.now += timedelta(days=1)
        await schedules.take_turns(engine.work, engine.published)
        assert await engine.runs() == []
        await engine.suspend(suspended=False)
        await engine.unpublish(workflow)
        await turns(engine)
        assert (await engine.runs(), await row(engine)) == ([], None)

    async def test_the_duty_comes_back_when_the_next_time_is_due(self, engine: BuiltinDriver) -> None:
        await engine.publish(by_the_clock())
        engine.now = datetime(2031, 3, 3, 7, 59, 59, tzinfo=UTC)
        pause = await timers.follow_schedules(engine.work, engine.published)
        assert pause is not None
        assert pause <= 1.0


class TestForEachPatient:
    async def test_everybody_once_and_nobody_left_out(self, engine: BuiltinDriver) -> None:
        visits = await registered(engine, 250)
        await engine.publish(by_the_clock(for_each="patient"))
        engine.now += timedelta(hours=2)
        await turns(engine)
        assert sorted(map(str, await patients_of_runs(engine))) == sorted(str(visit.patient_id) for visit in visits)
        assert (await row(engine))["doing"] == []

    async def test_killed_at_any_chunk_it_goes_on_where_it_was(self, engine: BuiltinDriver, monkeypatch: pytest.MonkeyPatch) -> None:
        visits = await registered(engine, 230)
        await engine.publish(by_the_clock(send(), for_each="patient"))
        engine.now += timedelta(hours=2)
        start = schedules._start

        async def and_die(*args: Any) -> Any:
            await start(*args)
            raise asyncio.CancelledError

        for _ in range(3):
            with monkeypatch.context() as patch:
                patch.setattr(schedules, "_start", and_die)
                with pytest.raises(asyncio.CancelledError):
                    await schedules.take_turns(engine.work, engine.published)
            await engine.restart()
            await schedules.take_turns(engine.work, engine.published)
            engine.now += schedules.PACE
        await turns(engine)
        asked = [request.patient_id for request in await engine.requests()]
        assert sorted(map(str, asked)) == sorted(str(visit.patient_id) for visit in visits)

    async def test_two_processes_share_a_fan_out(self, engine: BuiltinDriver) -> None:
        visits = await registered(engine, 320)
        await engine.publish(by_the_clock(for_each="patient"))
        engine.now += timedelta(hours=2)
        processes = [PublishedWorkflows() for _ in range(3)]
        for _ in range(8):
            await asyncio.gather(*(schedules.take_turns(engine.work, published) for published in processes))
            engine.now += schedules.PACE
        assert len(await patients_of_runs(engine)) == len(set(await patients_of_runs(engine))) == len(visits)

    async def test_only_those_the_condition_holds_for_are_said_aloud(self, engine: BuiltinDriver) -> None:
        await engine.deliver(Visit(email=None).registered(), Visit().registered(), Visit().registered())
        await engine.publish(by_the_clock(for_each="patient", condition="patient.email != null"))
        engine.now += timedelta(hours=2)
        await turns(engine)
        assert len(await engine.said(ScheduleReached)) == len(await engine.runs()) == 2

    async def test_what_fails_is_tried_again_and_forgets_no_time(self, engine: BuiltinDriver, monkeypatch: pytest.MonkeyPatch) -> None:
        await registered(engine, 5)
        await engine.publish(by_the_clock(for_each="patient", catch_up="none"))
        engine.now = datetime(2031, 3, 3, 8, 0, tzinfo=UTC)

        async def broken(*_: Any) -> Any:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(schedules, "_start", broken)
            await schedules.take_turns(engine.work, engine.published)
        assert await engine.runs() == []
        engine.now += schedules.POSTPONED
        await turns(engine)
        assert len(await engine.runs()) == 5
