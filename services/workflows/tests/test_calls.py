"""Whom Temporal is told of: practices take turns, a flood waits in our table, and overload does not feed on itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from libs.common.work import Work
from libs.contracts.workflows import RunStuck
from services.workflows.commands.handover import ANSWERED_WITHIN, OVERDUE, SYSTEM, call, call_runs
from services.workflows.commands.watchdog import GRACE, TAKEN_UP, look_after
from services.workflows.durable.turnstile import Turnstile
from services.workflows.rules.runs.orchestration import BULK_BOUND, LIVE_BOUND, PATIENCE, Called
from services.workflows.tests.engine.world import CONFIRMED, HOURS, Visit, booked, definition, send, wait
from services.workflows.tests.test_handover import HandOverDriver, Listening

FLOOD = 1000
MOMENT = timedelta(seconds=1)


class Flooded(HandOverDriver):
    async def flood(self, practice: UUID, calls: int = FLOOD, *, bulk: bool = False) -> None:
        """So many runs of a practice are called."""
        async with self.work.batch([], SYSTEM) as tx:
            await tx.execute(
                "INSERT INTO run_call (practice_id, run_id, bulk, called_at, tell_at) SELECT $1, gen_random_uuid(), $2, $4, $4 FROM generate_series(1, $3)",
                practice, bulk, calls, self.now,
            )  # fmt: skip

    async def told(self) -> list[Called]:
        """Whom the orchestrator hears of this time."""
        self.orchestrator.heard = []
        await call_runs(self.work, self.orchestrator)
        return self.orchestrator.heard

    async def answered(self, *called: Called) -> None:
        for one in called:
            await self.advance((one.practice_id, one.run_id))

    async def stuck(self) -> list[UUID]:
        """The runs of this practice that are raised as silent, all in all."""
        await look_after([self.practice], self.work, self.published)
        return [stuck.run_id for stuck in await self.said(RunStuck) if isinstance(stuck, RunStuck)]


@pytest.fixture
async def engine(work: Work) -> Flooded:
    driver = Flooded(work.engine)
    driver.prepare()
    await driver.learn_catalogue()
    await driver.publish(definition(send()))
    async with driver.work.batch([], SYSTEM) as tx:
        await tx.execute("DELETE FROM run_call")
        await tx.execute("DELETE FROM durable_timer")
    return driver


class TestTakingTurns:
    async def test_a_run_beside_a_thousand_of_another_practice_is_told_in_the_next_round(self, engine: Flooded) -> None:
        loud = uuid4()
        await engine.flood(loud)
        for _ in range(3):
            await engine.told()
        engine.now += MOMENT
        await booked(engine)
        assert [one.practice_id for one in await engine.told()] == [engine.practice]

    async def test_a_flood_waits_in_our_table_until_what_is_out_was_answered(self, engine: Flooded) -> None:
        await engine.flood(uuid4())
        out = await engine.told()
        assert len(out) == LIVE_BOUND.of_one
        assert await engine.told() == []
        await engine.answered(*out[:3])
        assert len(await engine.told()) == 3

    async def test_live_runs_do_not_wait_for_the_same_practices_bulk(self, engine: Flooded) -> None:
        await engine.flood(engine.practice, bulk=True)
        assert len(await engine.told()) == BULK_BOUND.of_one
        await booked(engine)
        assert [one.bulk for one in await engine.told()] == [False]

    async def test_when_room_is_short_who_has_less_out_goes_first_and_who_has_nothing_out_always(self, engine: Flooded) -> None:
        practices = [uuid4() for _ in range(20)]
        for practice in practices:
            await engine.flood(practice, 50)
        each = Counter(one.practice_id for one in await engine.told())
        assert set(each) == set(practices)
        assert set(each.values()) == {LIVE_BOUND.altogether // len(practices)}
        await booked(engine)
        assert [one.practice_id for one in await engine.told()] == [engine.practice]

    async def test_a_run_that_hears_more_while_it_waits_keeps_its_place(self, engine: Flooded) -> None:
        await booked(engine)
        first = await engine.key()
        engine.now += MOMENT
        await engine.flood(engine.practice)
        engine.now += MOMENT
        async with engine.work.batch([engine.practice], SYSTEM) as tx:
            await call([first], tx)
        assert (await engine.told())[0].run_id == first[1]

    async def test_a_run_that_is_no_more_is_not_told_again(self, engine: Flooded) -> None:
        await engine.flood(engine.practice, 1)
        await engine.answered(*await engine.told())
        assert await engine.count("run_call") == 0


class TestTimersNobodyRang:
    @pytest.fixture
    async def waiting(self, work: Work, engine: Flooded) -> Flooded:
        """A practice with a timer nobody rang, later than 600 of another practice."""
        await engine.publish(definition(wait("PT2H"), send(), event=CONFIRMED))
        visit = Visit()
        await engine.deliver(visit.registered(), visit.booked(), visit.confirmed())
        for run in await engine.runs():
            await engine.advance((engine.practice, run.id))
        self.loud = Flooded(work.engine, uuid4())
        async with engine.work.batch([], SYSTEM) as tx:
            await tx.execute(
                "INSERT INTO durable_timer (practice_id, run_id, step_id, due_at) SELECT $1, gen_random_uuid(), 'pause', $2 FROM generate_series(1, 600)",
                self.loud.practice, engine.now + HOURS,
            )  # fmt: skip
        engine.now += 3 * HOURS
        return engine

    async def found(self, engine: Flooded) -> bool:
        return engine.practice in {one.practice_id for one in await engine.told()}

    async def test_are_found_beside_many_of_a_suspended_practice(self, waiting: Flooded) -> None:
        await self.loud.suspend()
        assert await self.found(waiting)
        assert await self.loud.count("run_call") == 0

    async def test_are_found_beside_many_that_were_called_and_not_answered(self, waiting: Flooded) -> None:
        assert await self.found(waiting)
        waiting.now += HOURS
        await waiting.told()
        assert await self.loud.count("run_call") == 2 * OVERDUE


class TestRunsThatCannotBeTold:
    async def test_go_behind_the_others_of_their_practice(self, engine: Flooded) -> None:
        """As many as may be out stand first and are refused each time."""
        await engine.flood(engine.practice, LIVE_BOUND.of_one)
        async with engine.work.batch([], SYSTEM) as tx:
            refused = {row["run_id"] for row in await tx.rows("SELECT run_id FROM run_call")}
        engine.now += MOMENT
        await booked(engine)

        class Choosy(Listening):
            async def look(self, called: list[Called]) -> list[Called]:
                return await super().look([one for one in called if one.run_id not in refused])

        engine.orchestrator = Choosy()
        assert await engine.told() == []
        engine.now += MOMENT
        assert [one.run_id for one in await engine.told()] == [(await engine.key())[1]]


class TestTellingAgain:
    async def test_waits_twice_as_long_each_time(self, engine: Flooded) -> None:
        await booked(engine)
        found = []
        for minute in range(16):
            found += [minute for _ in await engine.told()]
            engine.now += ANSWERED_WITHIN
        assert found == [0, 1, 3, 7, 15]

    async def test_is_put_off_while_others_of_the_practice_are_answered(self, engine: Flooded) -> None:
        await booked(engine)
        run = (await engine.key())[1]
        await booked(engine)
        (other,) = [one.id for one in await engine.runs() if one.id != run]
        found = []
        for minute in range(3 * PATIENCE + 1):
            found += [minute for one in await engine.told() if one.run_id == run]
            await engine.advance((engine.practice, other))  # the engine brings something of the practice on
            engine.now += ANSWERED_WITHIN
        assert found == [0, PATIENCE, 3 * PATIENCE]

    async def test_a_backlog_nobody_answers_is_not_told_again_and_again(self, engine: Flooded) -> None:
        await engine.flood(engine.practice)
        told = 0
        for _ in range(10):
            told += len(await engine.told()) + len(await engine.told())
            engine.now += ANSWERED_WITHIN
        assert told <= 10 * LIVE_BOUND.of_one


class TestASilentEngine:
    async def test_is_not_one_whose_line_is_longer_than_it_may_be_silent(self, engine: Flooded) -> None:
        for _ in range(3 * LIVE_BOUND.of_one):
            await booked(engine)
        out: list[Called] = []
        for _ in range(int(TAKEN_UP / ANSWERED_WITHIN) + 2):
            out += [one for one in await engine.told() if one not in out]
            await engine.answered(*out[:3])
            del out[:3]
            engine.now += ANSWERED_WITHIN
            assert await engine.stuck() == []
        assert await engine.count("run_call") > 0

    async def test_is_one_that_was_told_of_a_run_and_brings_on_others_only(self, engine: Flooded) -> None:
        await booked(engine)
        (run,) = await engine.runs()
        await engine.told()
        await booked(engine)
        (other,) = [one.id for one in await engine.runs() if one.id != run.id]
        for _ in range(int(TAKEN_UP / ANSWERED_WITHIN) + 1):
            await engine.advance((engine.practice, other))
            engine.now += ANSWERED_WITHIN
        assert await engine.stuck() == [run.id]

    async def test_is_one_that_cannot_be_told_of_a_run(self, engine: Flooded) -> None:
        await booked(engine)
        (run,) = await engine.runs()

        class Choosy(Listening):
            async def look(self, called: list[Called]) -> list[Called]:
                return await super().look([one for one in called if one.run_id != run.id])

        engine.orchestrator = Choosy()
        for _ in range(int(TAKEN_UP / ANSWERED_WITHIN) + 2):
            await booked(engine)
            await engine.answered(*await engine.told())
            engine.now += ANSWERED_WITHIN
        assert await engine.stuck() == [run.id]

    async def test_is_not_called_again_by_who_looks_after_runs_that_wait_their_turn(self, engine: Flooded) -> None:
        await booked(engine)
        assert len(await engine.told()) == 1
        engine.now += GRACE * 1.5
        async with engine.work.batch([], SYSTEM) as tx:  # it was told just now
            await tx.execute("UPDATE run_call SET asked_at = $1, tell_at = $2", engine.now, engine.now + ANSWERED_WITHIN)
        assert await engine.stuck() == []
        assert await engine.told() == []


class TestTheTurnstile:
    async def test_whoever_waits_for_one_practice_takes_one_place(self) -> None:
        turnstile, done, held = Turnstile(2, 1), list[str](), asyncio.Event()

        async def loud() -> None:
            async with turnstile.turn("loud"):
                await held.wait()
                done.append("loud")

        async def quiet() -> None:
            async with turnstile.turn("quiet"):
                done.append("quiet")

        waiting = [asyncio.create_task(loud()) for _ in range(5)]
        await asyncio.gather(*(asyncio.create_task(quiet()) for _ in range(3)))
        held.set()
        await asyncio.gather(*waiting)
        assert done == ["quiet"] * 3 + ["loud"] * 5

    async def test_lines_take_turns(self) -> None:
        turnstile, done, all_here = Turnstile(1, 1), list[str](), asyncio.Event()

        async def come(key: str) -> None:
            async with turnstile.turn(key):
                await all_here.wait()
                done.append(key)

        here = [asyncio.create_task(come(key)) for key in ["loud"] * 4 + ["quiet"] * 2]
        await asyncio.sleep(0)
        all_here.set()
        await asyncio.gather(*here)
        assert done == ["loud", "quiet", "loud", "quiet", "loud", "loud"]

    async def test_who_is_cut_off_gives_its_turn_up(self) -> None:
        turnstile, let_go = Turnstile(1, 1), asyncio.Event()

        async def stay() -> None:
            async with turnstile.turn("one"):
                await let_go.wait()

        inside, waiting, last = (asyncio.create_task(stay()) for _ in range(3))
        await asyncio.sleep(0)
        waiting.cancel()
        inside.cancel()
        let_go.set()
        await asyncio.gather(inside, waiting, return_exceptions=True)
        await last
