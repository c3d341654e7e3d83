"""The core of every service through PgBouncer in transaction mode, where three server connections serve everybody."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from libs.common.auth import Principal
from libs.common.db import TenancySigner, make_engine
from libs.common.messaging import Consumer, Received
from libs.common.messaging.batches import Batches
from libs.common.work import Tx, Work
from libs.contracts.patients import PatientRecordViewed
from libs.testing.fixtures import incoming
from libs.testing.pooler import SERVER_CONNECTIONS, pooled
from libs.testing.postgres import TENANCY_KEY, TestDatabase

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = Principal.system("test")
_KNOW = "INSERT INTO access_member VALUES ($1, $2, $3, 'regular_user', true, 1)"
_SEE = "SELECT practice_id FROM access_member"


@pytest.fixture(scope="module")
def through(database: TestDatabase) -> Iterator[TestDatabase]:
    with pooled(database, ["patients_app", "practices_app"]) as made:
        yield made


@pytest.fixture(scope="module")
async def work(through: TestDatabase) -> AsyncIterator[Work]:
    engine = make_engine(through.app("patients"), application="pooled", pool=30, pooled=True)
    yield Work("patients", engine, TenancySigner(TENANCY_KEY))
    await engine.dispose()


async def know(work: Work, practice: UUID) -> None:
    async with work(Principal.system("test", practice)) as tx:
        await tx.execute(_KNOW, practice, str(uuid4()), uuid4())


class TestWork:
    async def test_commits_together_and_rolls_back_together(self, work: Work) -> None:
        practice = uuid4()
        await know(work, practice)
        with pytest.raises(ZeroDivisionError):
            async with work(Principal.system("test", practice)) as tx:
                await tx.execute(_KNOW, practice, "second", uuid4())
                tx.emit(PatientRecordViewed(patient_id=uuid4(), view="record"))
                raise ZeroDivisionError
        async with work(Principal.system("test", practice)) as tx:
            tx.emit(PatientRecordViewed(patient_id=uuid4(), view="record"))
        async with work(Principal.system("test", practice)) as tx:
            assert len(await tx.rows(_SEE)) == 1
            assert await tx.value("SELECT count(*) FROM outbox WHERE practice_id = $1", practice) == 1

    async def test_marks_once_however_many_ask_at_once(self, work: Work) -> None:
        practice = uuid4()

        async def mark() -> bool:
            async with work(Principal.system("test", practice)) as tx:
                return await tx.once("source", "the same")

        assert sum(await asyncio.gather(*(mark() for _ in range(20)))) == 1

    async def test_a_duty_enters_the_practices_it_learns_of(self, work: Work) -> None:
        here, there = uuid4(), uuid4()
        await know(work, here)
        await know(work, there)
        async with work.batch([], SYSTEM) as tx:
            assert await tx.rows(_SEE) == []
            await tx.enter([here])
            assert {row["practice_id"] for row in await tx.rows(_SEE)} == {here}


class TestSharedConnections:
    async def test_two_hundred_tasks_see_their_own_practice_whatever_breaks_off(self, work: Work) -> None:
        """Over three server connections, with errors and cancellations in between; then nothing is left behind."""
        practices = [uuid4() for _ in range(20)]
        for practice in practices:
            await know(work, practice)
        chance = random.Random(17)

        async def visit(practice: UUID) -> set[UUID]:
            async with work(Principal.system("test", practice)) as tx:
                first = {row["practice_id"] for row in await tx.rows(_SEE)}
                if chance.random() < 0.2:
                    await tx.execute("SELECT 1 / 0")
                if chance.random() < 0.2:
                    raise asyncio.CancelledError
                return first | {row["practice_id"] for row in await tx.rows(_SEE + " WHERE identity <> $1", "nobody")}

        plan = [chance.choice(practices) for _ in range(200)]
        found = await asyncio.gather(*(visit(practice) for practice in plan), return_exceptions=True)
        seen = [(practice, result) for practice, result in zip(plan, found, strict=True) if not isinstance(result, BaseException)]
        broken = [result for result in found if isinstance(result, BaseException)]
        assert len(seen) > 80
        assert {type(error) for error in broken} <= {asyncpg.DivisionByZeroError, asyncio.CancelledError}
        assert [practice for practice, result in seen if result != {practice}] == []
        for _ in range(3 * SERVER_CONNECTIONS):
            async with work.batch([], SYSTEM) as tx:
                assert await tx.rows(_SEE) == []

    async def test_a_statement_without_a_context_sees_nothing(self, work: Work, through: TestDatabase) -> None:
        await know(work, uuid4())
        connections = [await asyncpg.connect(through.app("patients"), statement_cache_size=0) for _ in range(5)]
        for connection in connections:
            async with connection.transaction():
                assert await connection.fetch(_SEE) == []
            await connection.close()


class TestKafkaDoor:
    async def test_takes_a_batch_and_its_duplicate_once(self, work: Work) -> None:
        consumer, taken = Consumer("patients"), []

        @consumer.on(PatientRecordViewed)
        async def seen(event: Received[PatientRecordViewed], tx: Tx) -> None:
            taken.append(event.id)

        batch = [incoming(PatientRecordViewed(patient_id=uuid4(), view="record"), uuid4()) for _ in range(20)]
        for _ in range(2):
            await Batches(consumer, work).handle(batch)
        assert len(taken) == len(set(taken)) == 20


async def test_time_limits_come_with_the_role(work: Work) -> None:
    async with work.batch([], SYSTEM) as tx:
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "jit")
        assert [await tx.value("SELECT current_setting($1)", name) for name in names] == ["30s", "10s", "1min", "off"]


@pytest.mark.parametrize("service", ["patients", "practices"])
def test_a_whole_services_own_tests_pass_through_it(service: str) -> None:
    """Its HTTP door, ORM and all, again in a process of its own whose database is behind the pooler."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"services/{service}/tests"]
    environment = {**os.environ, "VANTAGE_TEST_POOLED": "1"}
    environment.pop("PYTEST_XDIST_TESTRUNUID", None)
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout[-3000:]
