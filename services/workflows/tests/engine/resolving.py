"""A person says what became of an action nobody knows about: part of the suite every engine passes."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.errors import Conflict, NotFound
from libs.contracts.actions import ActionRequest, Outcome
from libs.contracts.workflows import RunFinished, StepResolved
from services.workflows.tests.engine.driver import EngineDriver
from services.workflows.tests.engine.world import HOURS, booked, definition, send, wait

Steps = tuple[tuple[str, str], ...]


async def unknown(engine: EngineDriver, *steps: dict[str, Any]) -> tuple[UUID, ActionRequest]:
    """A run whose first step was asked for, and nobody knows what became of it."""
    await engine.publish(definition(*(steps or (send("first"), send("second")))))
    await booked(engine)
    (request,) = await engine.requests()
    await engine.answer(request, Outcome.UNKNOWN)
    return request.run_id, request


async def standing(engine: EngineDriver) -> tuple[str, str | None, Steps]:
    (run,) = await engine.runs()
    return run.status, run.error_code, run.steps


async def asked(engine: EngineDriver) -> list[str]:
    return [request.step_id for request in await engine.requests()]


class ResolvingSuite:
    async def test_said_to_have_succeeded_the_run_goes_on(self, engine: EngineDriver) -> None:
        run, _ = await unknown(engine)
        await engine.resolve(run, "first", "succeeded", "Their operator sees it.")
        assert await asked(engine) == ["first", "second"]
        assert await standing(engine) == ("running", None, (("first", "succeeded"), ("second", "requested")))
        (said,) = await engine.said(StepResolved)
        assert isinstance(said, StepResolved)
        assert (said.run_id, said.step_id, said.outcome, said.note) == (run, "first", "succeeded", "Their operator sees it.")

    @pytest.mark.parametrize(
        ("policy", "status", "steps"),
        [
            ({}, "failed", (("first", "failed"),)),
            ({"on_error": "skip"}, "running", (("first", "failed"), ("second", "requested"))),
            (
                {"on_error": "branch", "error_steps": [send("instead")]},
                "running",
                (("first", "failed"), ("instead", "requested")),
            ),
        ],
        ids=["fail", "skip", "branch"],
    )
    async def test_said_to_have_failed_the_steps_policy_counts(
        self, engine: EngineDriver, policy: dict[str, Any], status: str, steps: Steps
    ) -> None:
        retry = {"retry": {"attempts": 3, "first": "PT1M"}}
        run, _ = await unknown(engine, send("first") | retry | policy, send("second"))
        await engine.resolve(run, "first", "failed")
        await engine.pass_time(HOURS)
        assert await standing(engine) == (status, "said_to_have_failed" if status == "failed" else None, steps)

    async def test_what_failed_by_a_persons_word_is_tried_again_under_a_new_name(self, engine: EngineDriver) -> None:
        run, first = await unknown(engine)
        await engine.resolve(run, "first", "failed")
        await engine.retry(run)
        _, again = await engine.requests()
        assert (again.step_id, again.effect_key != first.effect_key) == ("first", True)
        await engine.answer(first, Outcome.SUCCEEDED)
        assert await standing(engine) == ("running", None, (("first", "requested"),))
        await engine.answer(again, Outcome.SUCCEEDED)
        assert await asked(engine) == ["first", "first", "second"]

    @pytest.mark.parametrize("said", ["succeeded", "failed"])
    @pytest.mark.parametrize("answer", [Outcome.SUCCEEDED, Outcome.FAILED, Outcome.UNKNOWN])
    async def test_an_answer_that_comes_after_it_changes_nothing(self, engine: EngineDriver, said: str, answer: Outcome) -> None:
        run, request = await unknown(engine, send("first") | {"on_error": "skip"}, wait("PT1H"), send("second"))
        await engine.resolve(run, "first", said)
        before = await standing(engine)
        await engine.answer(request, answer, "mailbox_full" if answer is Outcome.FAILED else None, times=2)
        assert await standing(engine) == before
        await engine.pass_time(2 * HOURS)
        assert await asked(engine) == ["first", "second"]

    async def test_saying_it_again_changes_nothing_and_saying_otherwise_is_refused(self, engine: EngineDriver) -> None:
        run, _ = await unknown(engine)
        for _ in range(2):
            await engine.resolve(run, "first", "succeeded")
        with pytest.raises(Conflict):
            await engine.resolve(run, "first", "failed")
        assert await asked(engine) == ["first", "second"]
        assert len(await engine.said(StepResolved)) == 1

    async def test_only_of_what_is_unknown_can_it_be_said(self, engine: EngineDriver) -> None:
        await engine.publish(definition(send("first"), wait(), send("second")))
        await booked(engine)
        (request,) = await engine.requests()
        with pytest.raises(Conflict):
            await engine.resolve(request.run_id, "first", "succeeded")
        await engine.answer(request, Outcome.UNKNOWN)
        await engine.answer(request, Outcome.SUCCEEDED)
        for step in ("first", "pause"):
            with pytest.raises(Conflict):
                await engine.resolve(request.run_id, step, "succeeded")
        for where in ((request.run_id, "second"), (request.run_id, "nowhere"), (uuid4(), "first")):
            with pytest.raises(NotFound):
                await engine.resolve(*where, "succeeded")
        assert await engine.said(StepResolved) == []

    async def test_a_paused_run_takes_it_and_goes_on_when_it_is_resumed(self, engine: EngineDriver) -> None:
        run, _ = await unknown(engine)
        await engine.pause(run)
        await engine.resolve(run, "first", "succeeded")
        assert await asked(engine) == ["first"]
        await engine.resume(run)
        assert await asked(engine) == ["first", "second"]

    async def test_of_a_cancelled_run_it_is_recorded_only(self, engine: EngineDriver) -> None:
        run, request = await unknown(engine)
        await engine.cancel(run)
        await engine.resolve(run, "first", "failed")
        await engine.answer(request, Outcome.SUCCEEDED)
        assert await standing(engine) == ("cancelled", None, (("first", "failed"),))
        assert await asked(engine) == ["first"]
        assert len(await engine.said(RunFinished)) == 1
