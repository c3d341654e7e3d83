"""Backtests of a span that has a past: who had been through or was under way is counted; results are real where there are any."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.work import Work
from libs.contracts.actions import ActionRequest, Outcome
from libs.contracts.notifications import ActionFinished
from services.workflows.commands import backtesting
from services.workflows.commands.backtesting import LEASE, Backtests
from services.workflows.queries.decided import with_decisions
from services.workflows.rules.expressions.cel_cpp import CelCpp
from services.workflows.rules.simulation import comparing
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.driver import Said
from services.workflows.tests.engine.world import AT, HOURS, booked, definition, send
from services.workflows.tests.test_backtest import DEFINITIONS, START, ask, begun, history, live, row_of, run_all
from services.workflows.tests.test_dry_run import branch

SINCE = START + timedelta(hours=5, minutes=10)
READS = definition(send("first"), send("second", text="Your message {{ steps.first.result.message_id }}"))


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    return await begun(work, practice)


async def decided(engine: BuiltinDriver) -> Counter[str]:
    """What the engine decided within the span."""
    async with engine.work(engine.admin) as tx:
        sql = "SELECT * FROM event_log WHERE practice_id = $1 AND recorded_at >= $2"
        rows = await with_decisions(await tx.rows(sql, engine.practice, SINCE), tx)
    return Counter(verdict for row in rows for _, _, verdict, _ in row["decisions"])


async def asked_for(engine: BuiltinDriver) -> list[tuple[str, str, Any]]:
    """What runs that began within the span asked for."""
    sql = """
        SELECT o.payload, o.time FROM outbox o JOIN run r ON r.practice_id = o.practice_id AND r.id = (o.payload ->> 'run_id')::uuid
        WHERE o.practice_id = $1 AND o.type LIKE '%perform-action.v1' AND r.started_at >= $2
    """
    async with engine.work(engine.admin) as tx:
        rows = await tx.rows(sql, engine.practice, SINCE)
    return sorted(((row["payload"]["step_id"], row["time"].isoformat(), row["payload"]["parameters"]) for row in rows), key=str)


async def found(engine: BuiltinDriver, workflow: UUID, **body: Any) -> Any:
    backtest = await ask(engine, workflow, **{"compare_with": None} | body)
    await run_all(engine)
    row = await row_of(engine, backtest)
    assert row["status"] == "done"
    return row["result"]


def texts(result: Any) -> list[str]:
    return [one["draft"]["parameters"]["text"] for one in result["examples"]["only_in_draft"]]


class TestAnEarlierLife:
    @pytest.mark.parametrize("name", DEFINITIONS)
    async def test_it_finds_what_the_engine_did_from_then_on(
        self, engine: BuiltinDriver, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(comparing, "MAX_EXAMPLES", 10_000)
        workflow = await engine.publish(DEFINITIONS[name])
        await live(engine, history(random.Random(name)), AT)
        result = await found(engine, workflow, days=None, since=SINCE)
        assert Counter(result["draft"]["verdicts"]) == await decided(engine)
        asked = [
            (one["draft"]["step_id"], one["draft"]["at"], one["draft"]["parameters"]) for one in result["examples"].get("only_in_draft", [])
        ]
        assert sorted(asked, key=str) == await asked_for(engine)

    @pytest.mark.parametrize(("policy", "verdict"), [("once", "enrolled_already"), ("once_while_active", "active_already")])
    async def test_who_came_before_the_span_is_no_new_run_on_either_side(self, engine: BuiltinDriver, policy: str, verdict: str) -> None:
        workflow = await engine.publish(definition(send()) | {"enrolment": {"policy": policy}})
        engine.now = START
        visit = await booked(engine)
        engine.now = SINCE
        await engine.deliver(visit.again().booked())
        engine.now += HOURS
        result = await found(engine, workflow, days=None, since=SINCE - HOURS, compare_with="published")
        assert result["draft"]["verdicts"] == result["compared"]["verdicts"] == {verdict: 1}

    async def test_who_was_let_in_again_within_the_span_had_been_through_before_it(self, engine: BuiltinDriver) -> None:
        workflow = await engine.publish(definition(send()) | {"enrolment": {"policy": "once", "again_after": "PT4H"}})
        engine.now = START
        visit = await booked(engine)
        for hours in (3, 2):
            engine.now += hours * HOURS
            await engine.deliver(visit.again().booked())
        engine.now += HOURS
        result = await found(engine, workflow, days=None, since=START + 2 * HOURS)
        assert result["draft"]["verdicts"] == {"enrolled_already": 1, "started": 1}


class TestResults:
    async def answered(self, engine: BuiltinDriver, request: ActionRequest, result: dict[str, Any]) -> None:
        finished = ActionFinished(
            effect_key=request.effect_key, action=request.action, run_id=request.run_id, step_id=request.step_id,
            outcome=Outcome.SUCCEEDED, result=result,
        )  # fmt: skip
        await engine.deliver(Said(uuid4(), finished))

    async def test_are_the_real_ones_where_the_step_really_ran(self, engine: BuiltinDriver) -> None:
        workflow = await engine.publish(READS)
        await booked(engine)
        await self.answered(engine, (await engine.requests())[0], {"message_id": "the real one"})
        engine.now += HOURS
        result = await found(engine, workflow)
        assert "Your message the real one" in texts(result)
        assert result["draft"]["warnings"] == []

    async def test_are_made_up_of_the_right_type_otherwise_and_whoever_reads_them_is_warned(self, engine: BuiltinDriver) -> None:
        workflow = await engine.publish(definition(send("other")))
        await booked(engine)
        await engine.edit(workflow, READS)
        engine.now += HOURS
        result = await found(engine, workflow)
        assert result["draft"]["outcomes"] == {"completed": 1}
        (text,) = [text for text in texts(result) if text.startswith("Your message ")]
        assert UUID(text.removeprefix("Your message "))
        assert [(one["code"], one["step_id"], one["count"]) for one in result["draft"]["warnings"]] == [("result_made_up", "first", 1)]

    async def test_nobody_is_warned_of_what_nobody_reads(self, engine: BuiltinDriver) -> None:
        way = branch("steps.first.outcome == 'succeeded'", [send("second")], [send("third")])
        workflow = await engine.publish(definition(send("first"), way))
        await booked(engine)
        engine.now += HOURS
        result = await found(engine, workflow)
        assert (result["draft"]["warnings"], result["draft"]["outcomes"]) == ([], {"completed": 1})


class TestBeingCutOff:
    @pytest.fixture
    async def workflow(self, engine: BuiltinDriver, monkeypatch: pytest.MonkeyPatch) -> UUID:
        monkeypatch.setattr(backtesting, "PAGE", 5)
        workflow = await engine.publish(DEFINITIONS["an answer awaited"])
        await live(engine, history(random.Random(7)), AT)
        return workflow

    @pytest.mark.parametrize("pages", [1, 3])
    async def test_begun_again_it_comes_to_the_same(self, engine: BuiltinDriver, workflow: UUID, pages: int) -> None:
        undisturbed = await found(engine, workflow, compare_with="published", until=AT, since=START - HOURS, days=None)
        backtest = await ask(engine, workflow, until=AT, since=START - HOURS, days=None)
        gone = Backtests(engine.work, CelCpp)
        for _ in range(pages):
            assert await gone.round() == 0.0
        engine.now += 2 * LEASE
        await run_all(engine)
        row = await row_of(engine, backtest)
        assert (row["attempts"], row["events_done"]) == (2, row["events_total"])
        assert row["result"] == undisturbed

    async def test_who_comes_back_after_another_began_tells_nothing_any_more(self, engine: BuiltinDriver, workflow: UUID) -> None:
        backtest = await ask(engine, workflow)
        late, other = Backtests(engine.work, CelCpp), Backtests(engine.work, CelCpp)
        for _ in range(3):
            await late.round()
        engine.now += 2 * LEASE
        await other.round()
        while await late.round() is not None:
            pass
        row = await row_of(engine, backtest)
        assert (row["status"], row["events_done"], row["attempts"]) == ("running", 0, 2)
        await run_all(engine, other)
        assert (await row_of(engine, backtest))["status"] == "done"
