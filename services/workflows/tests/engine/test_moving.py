"""From one engine to the other while runs are under way: they finish where they began, new ones begin on the other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.common.work import Work
from libs.contracts.actions import ActionRequest, Outcome
from services.workflows.commands.handover import SYSTEM
from services.workflows.tests.engine.temporal import Skipping, TemporalDriver
from services.workflows.tests.engine.world import HOURS, Visit, booked, definition, send, wait


@pytest.fixture
async def engine(work: Work, skipping_server: Skipping) -> AsyncIterator[TemporalDriver]:
    driver = TemporalDriver(work.engine, skipping_server)
    await driver.learn_catalogue()
    yield driver
    del skipping_server.drivers[driver.practice]


async def engines(engine: TemporalDriver) -> list[tuple[str, str]]:
    """Of the runs, oldest first: the engine and the status."""
    async with engine.work.batch([engine.practice], SYSTEM) as tx:
        rows = await tx.rows("SELECT engine, status FROM run WHERE practice_id = $1 ORDER BY started_at, id", engine.practice)
    return [(row["engine"], row["status"]) for row in rows]


async def answer_all(engine: TemporalDriver, requests: list[ActionRequest]) -> None:
    for request in requests:
        await engine.answer(request, Outcome.SUCCEEDED)


class TestMoving:
    async def test_there_and_back(self, engine: TemporalDriver) -> None:
        await engine.publish(definition(send("first"), wait("PT2H"), send("second")))
        engine.begin_on_builtin()
        await booked(engine)
        await engine.pass_time(HOURS / 60)
        engine.begin_on_temporal()
        await booked(engine)
        await engine.pass_time(HOURS / 60)
        engine.begin_on_builtin()
        await booked(engine)
        assert await engines(engine) == [("builtin", "running"), ("temporal", "running"), ("builtin", "running")]
        await answer_all(engine, await engine.requests())
        await engine.pass_time(2 * HOURS)
        await answer_all(engine, (await engine.requests())[3:])
        assert await engines(engine) == [("builtin", "completed"), ("temporal", "completed"), ("builtin", "completed")]
        assert [request.step_id for request in await engine.requests()] == ["first"] * 3 + ["second"] * 3

    async def test_a_booking_that_started_a_run_on_one_engine_starts_none_on_the_other(self, engine: TemporalDriver) -> None:
        await engine.publish(definition())
        visit = Visit()
        event = visit.booked()
        await engine.deliver(visit.registered(), event)
        engine.begin_on_builtin()
        await engine.deliver(event)
        assert await engines(engine) == [("temporal", "running")]
        assert len(await engine.requests()) == 1
