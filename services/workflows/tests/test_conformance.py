"""The actions of workflows keep what every action keeps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.work import Work
from libs.contracts.envelope import Message
from libs.contracts.workflows import RunFinished, RunStarted
from libs.testing.action_conformance import CANARY, ActionConformance, Scene
from services.workflows.actions import START_WORKFLOW, STOP_WORKFLOW
from services.workflows.commands.manual import RequestRun, request_run
from services.workflows.rules.expressions.engines import ENGINES
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import Visit
from services.workflows.tests.steering import by_hand

Outbox = Callable[[UUID], Awaitable[list[Message]]]


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    return BuiltinDriver(work.engine, practice)


@pytest.fixture
async def patient(engine: BuiltinDriver) -> UUID:
    visit = Visit()
    await engine.deliver(visit.registered())
    assert visit.patient_id is not None
    return visit.patient_id


@pytest.fixture
async def by_hand_only(engine: BuiltinDriver) -> UUID:
    return await engine.publish(by_hand())


def seen(kind: type[Message], outbox: Outbox, practice: UUID) -> Callable[[], Awaitable[int]]:
    async def count() -> int:
        return sum(isinstance(message, kind) for message in await outbox(practice))

    return count


class TestStartWorkflow(ActionConformance):
    plugin = START_WORKFLOW

    @pytest.fixture
    async def scene(self, engine: BuiltinDriver, by_hand_only: UUID, patient: UUID, outbox: Outbox) -> Scene:
        before = frozenset(message.type for message in await outbox(engine.practice))
        invalid: list[dict[str, Any]] = [
            {}, {"workflow_id": "Recall"}, {"workflow_id": str(by_hand_only), "values": [1]},
            {"workflow_id": str(uuid4()), "at": 1},
        ]  # fmt: skip
        return Scene(
            {"workflow_id": str(by_hand_only), "values": {"reason": CANARY}}, invalid, seen(RunStarted, outbox, engine.practice), patient,
            {"published": engine.published}, before=before,
        )  # fmt: skip


class TestStopWorkflow(ActionConformance):
    plugin = STOP_WORKFLOW

    @pytest.fixture
    async def scene(self, engine: BuiltinDriver, by_hand_only: UUID, patient: UUID, outbox: Outbox) -> Scene:
        async with engine.work(engine.admin) as tx:
            await request_run(by_hand_only, RequestRun(patient_id=patient), ENGINES["cel-cpp"], engine.published, tx)
        before = frozenset(message.type for message in await outbox(engine.practice))
        invalid: list[dict[str, Any]] = [{}, {"workflow_id": 7}, {"workflow_id": str(by_hand_only), "reason": "none"}]
        return Scene(
            {"workflow_id": str(by_hand_only)}, invalid, seen(RunFinished, outbox, engine.practice), patient,
            {"published": engine.published}, before=before,
        )  # fmt: skip
