"""What the built-in engine does per batch, and what a fault of one does to the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from libs.common.work import Tx, Work
from libs.contracts.actions import Outcome
from libs.contracts.notifications import ActionFinished, TaskCreated
from libs.contracts.practices import UserReactivated
from services.workflows.commands import published
from services.workflows.rules.definitions.compiling import compile_definition
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.driver import Said
from services.workflows.tests.engine.world import Visit, definition, send, wait


@pytest.fixture
async def engine(work: Work) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine)
    await driver.learn_catalogue()
    return driver


@contextmanager
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every statement that transactions run inside the block."""
    seen: list[str] = []

    def counting(original: Any) -> Any:
        async def run(tx: Tx, sql: str, *args: object) -> Any:
            seen.append(sql)
            return await original(tx, sql, *args)

        return run

    with monkeypatch.context() as patch:
        for name in ("rows", "row", "value", "execute"):
            patch.setattr(Tx, name, counting(getattr(Tx, name)))
        yield seen


class TestCost:
    async def test_the_number_of_statements_does_not_grow_with_the_batch(
        self, engine: BuiltinDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for step in "abc":
            await engine.publish(definition(send(step), wait("PT1H", "later")))
        counts = []
        for size in (1, 1, 40):
            visits = [Visit() for _ in range(size)]
            await engine.batches.handle([engine.record(visit.registered()) for visit in visits])
            with statements(monkeypatch) as booked:
                await engine.batches.handle([engine.record(visit.booked()) for visit in visits])
            asked = (await engine.requests())[-3 * size :]
            answers = [_answer(request) for request in asked]
            with statements(monkeypatch) as answered:
                await engine.batches.handle([engine.record(answer) for answer in answers])
            counts.append((len(booked), len(answered)))
        assert counts[1] == counts[2]
        assert max(counts[2]) <= 16

    async def test_a_version_is_compiled_once_whatever_else_is_published(
        self, engine: BuiltinDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compiled: list[str] = []

        def counting(definition: Any, *args: Any) -> Any:
            compiled.append(definition.steps[0].id)
            return compile_definition(definition, *args)

        monkeypatch.setattr(published, "compile_definition", counting)
        for step in "abc":
            await engine.publish(definition(send(step)))
            visit = Visit()
            await engine.deliver(visit.registered(), visit.booked())
        assert compiled == ["a", "b", "c"]


def _answer(request: Any) -> Said:
    return Said(
        uuid4(),
        ActionFinished(
            effect_key=request.effect_key, action=request.action, run_id=request.run_id, step_id=request.step_id, outcome=Outcome.SUCCEEDED
        ),
    )


class TestFaults:
    async def test_a_published_workflow_that_no_longer_compiles_fails_its_runs_and_no_others(self, engine: BuiltinDriver) -> None:
        broken, sound = await engine.publish(definition(send("a"))), await engine.publish(definition(send("b")))
        async with engine.work(engine.admin) as tx:
            field_gone = "jsonb_set(draft, '{condition}', '\"event.gone == 1\"')"
            await tx.execute(
                f"UPDATE workflow SET draft = {field_gone}, version = 2 WHERE practice_id = $1 AND id = $2", engine.practice, broken
            )
            await tx.execute(
                "INSERT INTO workflow_version SELECT practice_id, id, 2, name, draft, 'user:test', updated_at FROM workflow WHERE practice_id = $1 AND id = $2",
                engine.practice, broken,
            )  # fmt: skip
            await tx.execute("UPDATE workflow SET published_version = 2 WHERE practice_id = $1 AND id = $2", engine.practice, broken)
        await engine.restart()
        visit = Visit()
        await engine.deliver(visit.registered(), visit.booked())
        records = {run.workflow_id: (run.status, run.error_code) for run in await engine.runs()}
        assert records == {broken: ("failed", "definition_invalid"), sound: ("running", None)}

    async def test_an_answer_to_an_unknown_run_is_kept_and_delays_nobody(self, engine: BuiltinDriver) -> None:
        await engine.publish(definition())
        visit = Visit()
        await engine.deliver(visit.registered(), visit.booked())
        (request,) = await engine.requests()
        stray = _answer(request.model_copy(update={"run_id": uuid4(), "effect_key": uuid4()}))
        await engine.deliver(stray, _answer(request))
        assert [run.status for run in await engine.runs()] == ["completed"]
        assert await engine.parked() == ["run_unknown"]

    async def test_a_patient_that_never_comes_is_not_forgotten(self, engine: BuiltinDriver) -> None:
        await engine.publish(definition())
        await engine.deliver(Visit().booked())
        for _ in range(15):
            await engine.pass_time(timedelta(minutes=11))
        assert await engine.parked() == ["patient_not_yet"]

    async def test_what_follows_on_a_waiting_subject_waits_behind_it_in_order(self, engine: BuiltinDriver) -> None:
        await engine.publish(definition(send(text="{{ appointment.status }}")))
        visit = Visit()
        await engine.deliver(visit.booked(), visit.confirmed())
        assert await engine.parked() == ["patient_not_yet", "behind"]
        await engine.deliver(visit.registered())
        await engine.pass_time(timedelta(seconds=2))
        assert await engine.parked() == []
        assert [request.parameters["text"] for request in await engine.requests()] == ["booked"]

    async def test_one_practices_context_does_not_reach_anothers_rows(self, engine: BuiltinDriver) -> None:
        await engine.publish(definition())
        visit = Visit()
        await engine.deliver_elsewhere(uuid4(), visit.registered())
        await engine.deliver(visit.booked())
        assert await engine.parked() == ["patient_not_yet"]


class TestProjections:
    async def test_older_news_changes_nothing(self, engine: BuiltinDriver) -> None:
        await engine.publish(definition(wait("PT1H"), send(text="{{ appointment.status }}")))
        visit = Visit()
        await engine.deliver(visit.registered(), visit.confirmed(), visit.booked())
        await engine.pass_time(timedelta(hours=1))
        assert [request.parameters["text"] for request in await engine.requests()] == ["confirmed"]


class TestEventsOfThePractice:
    async def test_a_task_and_a_user_who_is_back_start_them_as_well(self, engine: BuiltinDriver) -> None:
        for event in (TaskCreated, UserReactivated):
            await engine.publish(definition(wait(), event=event.type))
        await engine.deliver(
            Said(uuid4(), TaskCreated(task_id=uuid4(), patient_id=None, title="Call", due_at=None, assignee_role=None, assignee_id=None)),
            Said(uuid4(), UserReactivated(user_id=uuid4())),
        )
        assert len(await engine.runs()) == 2
