"""A rotation stopped anywhere is begun again; what is stored meanwhile is not lost; every column is reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID, uuid4

import pytest

from libs.common.auth import Principal
from libs.common.db import TenancySigner, make_engine
from libs.common.secrets import LocalKeys, SecretBox
from libs.common.secrets.rotation import Rotation
from libs.common.work import Work
from libs.testing.postgres import TENANCY_KEY, TestDatabase
from libs.testing.rotation import NEW, OLD, Operator, version_1
from services.scheduling.app import build
from services.scheduling.commands import calcom_settings, endpoint
from services.scheduling.commands.calcom_settings import ConfigureCalcom, configure_calcom, valid_secrets
from services.scheduling.commands.endpoint import ConfigureEndpoint, configure_endpoint
from services.scheduling.settings import Settings

COLUMNS = (
    ("calcom_settings", "webhook_secret"), ("calcom_settings", "previous_secret"),
    ("webhook_endpoint", "secret"), ("webhook_endpoint", "previous_secret"),
)  # fmt: skip
BOTH = f"{NEW},{OLD}"
FIRST, SECOND = "the secret before, long enough", "the secret now, long enough"


@pytest.fixture
def operator(own_database: TestDatabase, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator("scheduling", Settings, build, own_database, capsys, monkeypatch)


@pytest.fixture
async def own_work(own_database: TestDatabase) -> AsyncIterator[Work]:
    engine = make_engine(own_database.app("scheduling"), application="test")
    yield Work("scheduling", engine, TenancySigner(TENANCY_KEY))
    await engine.dispose()


async def configured(work: Work, box: SecretBox) -> UUID:
    """A new practice with two secrets of Cal.com and two of its endpoint, stored as the API stores them."""
    practice = uuid4()
    async with work(Principal.system("test", practice)) as tx:
        for secret in (FIRST, SECOND):
            await configure_calcom(ConfigureCalcom.model_validate({"webhook_secret": secret}), box, tx)
            told = {"url": "https://crm.example/hook", "event_types": ["appointment.booked"], "rotate_secret": True}
            await configure_endpoint(ConfigureEndpoint.model_validate(told), lambda _: None, box, tx)
    return practice


async def secrets_of(work: Work, practice: UUID, box: SecretBox) -> list[str]:
    """All four, opened."""
    async with work(Principal.system("test", practice)) as tx:
        row = await tx.row("SELECT secret, previous_secret FROM webhook_endpoint WHERE practice_id = $1", practice)
        assert row is not None
        return [*await valid_secrets(box, tx), *(box.open(practice, endpoint.PURPOSE, row[name]) for name in ("secret", "previous_secret"))]


def rotation(work: Work, box: SecretBox, operator: Operator) -> Rotation:
    return Rotation(work, box, operator.declared())


class Meanwhile:
    """The listed keys; when the ``turn``-th data key is wrapped, something happens first."""

    def __init__(self, turn: int, happens: Callable[[], object]) -> None:
        self._keys = LocalKeys.parse(BOTH)
        self._turn = turn
        self._happens = happens
        self.current = self._keys.current

    def wrap(self, data_key: bytes, bound: bytes) -> tuple[str, bytes]:
        self._turn -= 1
        if self._turn == 0:
            self._happens()
        return self._keys.wrap(data_key, bound)

    def unwrap(self, key_id: str, wrapped: bytes, bound: bytes) -> bytes:
        return self._keys.unwrap(key_id, wrapped, bound)


async def test_every_column_of_every_practice_comes_under_the_new_key(operator: Operator, own_work: Work) -> None:
    before = SecretBox.local(OLD)
    practices = {
        practice: await secrets_of(own_work, practice, before) for practice in [await configured(own_work, before) for _ in range(3)]
    }
    older = next(iter(practices))
    operator.sql(
        "UPDATE calcom_settings SET previous_secret = %s WHERE practice_id = %s", version_1(older, calcom_settings.PURPOSE, FIRST), older
    )
    assert await operator.secrets("status", BOTH) == (0, "(version 1)\t1\told\n2025\t11\told\n")
    assert await operator.secrets("rotate", BOTH) == (0, "12 re-wrapped, 0 not under the current key\n")
    assert await operator.secrets("status", NEW) == (0, "2026\t12\tcurrent\n")
    assert {practice: await secrets_of(own_work, practice, SecretBox.local(NEW)) for practice in practices} == practices


async def test_the_api_key_for_cal_com_comes_along(operator: Operator, own_work: Work) -> None:
    practice, key = uuid4(), "cal_live_0123456789abcdef"
    async with own_work(Principal.system("test", practice)) as tx:
        cmd = ConfigureCalcom.model_validate({"webhook_secret": FIRST, "api_key": key})
        await configure_calcom(cmd, SecretBox.local(OLD), tx)
    assert await operator.secrets("rotate", BOTH) == (0, "2 re-wrapped, 0 not under the current key\n")
    async with own_work(Principal.system("test", practice)) as tx:
        row = await tx.row("SELECT api_key FROM calcom_settings WHERE practice_id = $1", practice)
        assert row is not None
        assert SecretBox.local(NEW).open(practice, calcom_settings.API_PURPOSE, row["api_key"]) == key


async def test_more_values_than_a_batch_holds_are_all_reached(operator: Operator, own_work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libs.common.secrets.rotation.BATCH", 2)
    practice = await configured(own_work, SecretBox.local(OLD))
    operator.sql("ALTER TABLE webhook_endpoint DROP CONSTRAINT webhook_endpoint_pkey")
    for number in range(5):
        sealed = SecretBox.local(OLD).seal(practice, endpoint.PURPOSE, f"secret {number}")
        operator.sql("INSERT INTO webhook_endpoint SELECT practice_id, url, state, %s, %s, previous_until, event_types, created_at, updated_at "
                     "FROM webhook_endpoint LIMIT 1", sealed, b"never sealed")  # fmt: skip
    box = SecretBox.local(BOTH)
    assert await rotation(own_work, box, operator).rotate() == 9
    assert await rotation(own_work, box, operator).outstanding() == 5


@pytest.mark.parametrize("turn", [1, 4, 5, 7])
async def test_one_that_died_in_the_middle_left_whole_batches_and_is_finished_by_the_next(
    turn: int, operator: Operator, own_work: Work
) -> None:
    before = SecretBox.local(OLD)
    practices = {
        practice: await secrets_of(own_work, practice, before) for practice in [await configured(own_work, before) for _ in range(2)]
    }

    def dies() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await rotation(own_work, SecretBox(Meanwhile(turn, dies)), operator).rotate()
    done = 4 if turn > 4 else 0
    assert operator.under(*COLUMNS) == {"2025": 8 - done} | ({"2026": done} if done else {})
    assert {practice: await secrets_of(own_work, practice, SecretBox.local(BOTH)) for practice in practices} == practices

    assert await operator.secrets("rotate", BOTH) == (0, f"{8 - done} re-wrapped, 0 not under the current key\n")
    assert {practice: await secrets_of(own_work, practice, SecretBox.local(NEW)) for practice in practices} == practices


async def test_a_secret_that_is_replaced_meanwhile_stays_replaced(operator: Operator, own_work: Work) -> None:
    """The API of a process that has the new keys already stores a secret between our reading and our writing."""
    practice = await configured(own_work, SecretBox.local(OLD))
    replaced = SecretBox.local(NEW).seal(practice, calcom_settings.PURPOSE, "the secret of a minute ago")
    store = "UPDATE calcom_settings SET previous_secret = webhook_secret, webhook_secret = %s WHERE practice_id = %s"
    box = SecretBox(Meanwhile(1, lambda: operator.sql(store, replaced, practice)))

    assert await rotation(own_work, box, operator).rotate() == 3
    assert operator.under(*COLUMNS) == {"2026": 4}
    assert (await secrets_of(own_work, practice, SecretBox.local(NEW)))[:2] == ["the secret of a minute ago", SECOND]


async def test_several_at_once_do_the_work_once(operator: Operator, own_work: Work) -> None:
    before = SecretBox.local(OLD)
    practices = {
        practice: await secrets_of(own_work, practice, before) for practice in [await configured(own_work, before) for _ in range(6)]
    }
    box = SecretBox.local(BOTH)
    moved = await asyncio.gather(*(rotation(own_work, box, operator).rotate() for _ in range(3)))
    assert sum(moved) == 24
    assert operator.under(*COLUMNS) == {"2026": 24}
    assert {practice: await secrets_of(own_work, practice, SecretBox.local(NEW)) for practice in practices} == practices
