"""Turns of a practice, and the times written down in them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from libs.common.work import Work
from libs.contracts.actions import Outcome
from libs.testing.probe import until_async
from services.workflows.commands.handover import SYSTEM
from services.workflows.commands.runs import move_runs
from services.workflows.commands.serial import free_turns, one_at_a_time
from services.workflows.rules.runs.states import StepResult
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import CONFIRMED, SECOND, definition, heard, send
from services.workflows.tests.steering import booked

_WAITING = """
SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    return driver


class TestTurns:
    async def test_come_with_the_time_they_came_at(self, engine: BuiltinDriver) -> None:
        async with engine.work.batch([engine.practice], SYSTEM) as tx:
            began = tx.now
            engine.now += 5 * SECOND
            await one_at_a_time([engine.practice], tx)
            assert tx.now == began + 5 * SECOND
            engine.now -= 9 * SECOND  # a clock that was set back
            await one_at_a_time([engine.practice], tx)
            assert tx.now == began + 5 * SECOND
            engine.now += 15 * SECOND
            assert await free_turns([engine.practice], 1, tx) == [engine.practice]
            assert tx.now == began + 11 * SECOND

    async def test_an_exit_that_waited_while_its_run_failed_is_not_missed_by_a_retry(self, engine: BuiltinDriver) -> None:
        await engine.publish(definition(send()) | {"exit": [heard(CONFIRMED)]})
        (visit,) = await booked(engine)
        (run,) = await engine.runs()

        async def somebody_waits() -> bool:
            async with engine.work.batch([], SYSTEM) as tx:
                return bool(await tx.value(_WAITING))

        async with engine.work.batch([engine.practice], SYSTEM) as tx:
            tx.settle(engine.practice)
            await one_at_a_time([engine.practice], tx)
            confirmed = asyncio.create_task(engine.deliver(visit.confirmed()))
            await until_async(somebody_waits, within=30, what="the event's turn")
            engine.now += timedelta(seconds=2)
            tx.begin_now()
            answer = StepResult("intake", Outcome.FAILED, "mailbox_full")
            await move_runs([((engine.practice, run.id), answer, tx.cause)], engine.published, tx)
        await confirmed
        assert [one.status for one in await engine.runs()] == ["failed"]
        await engine.retry(run.id)
        assert [(one.status, one.error_code) for one in await engine.runs()] == [("cancelled", "exit_condition")]
