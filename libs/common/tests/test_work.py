"""The unit of work: together or not at all, in the practice it was opened for and in no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from libs.common import outbox as outbox_module
from libs.common.auth import Principal, Role
from libs.common.db import CONTEXT_LIFETIME_SECONDS, TenancySigner
from libs.common.outbox import MessageTooLarge
from libs.common.telemetry import Cause
from libs.common.tests.conftest import SERVICE, thing
from libs.common.work import TransactionAborted, Tx, Work, json_text
from libs.contracts.envelope import PLATFORM
from libs.testing.postgres import TENANCY_KEY

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_EFFECT = "INSERT INTO effect (practice_id, effect_key, action, planned_at) VALUES ($1, $2, 'test', now())"
_EFFECTS = "SELECT count(*) FROM effect"


async def keep(tx: Tx, practice: UUID) -> None:
    await tx.execute(_EFFECT, practice, uuid4())


async def count(work: Work, *practices: UUID) -> int:
    async with work.batch(practices, Principal.system("test")) as tx:
        return int(await tx.value(_EFFECTS))


async def said(work: Work, practice: UUID) -> list[dict[str, Any]]:
    async with work.batch([practice], Principal.system("test")) as tx:
        return [dict(row) for row in await tx.rows("SELECT * FROM outbox WHERE practice_id = $1 ORDER BY seq", practice)]


class TestTogether:
    async def test_rows_and_messages_are_committed_by_leaving(self, work: Work, admin: Principal, practice: UUID) -> None:
        async with work(admin) as tx:
            await keep(tx, practice)
            tx.emit(thing())
        assert (await count(work, practice), len(await said(work, practice))) == (1, 1)

    async def test_an_exception_leaves_neither(self, work: Work, admin: Principal, practice: UUID) -> None:
        with pytest.raises(ZeroDivisionError):
            async with work(admin) as tx:
                await keep(tx, practice)
                tx.emit(thing())
                await tx.flush()
                raise ZeroDivisionError
        assert (await count(work, practice), await said(work, practice)) == (0, [])

    async def test_a_message_that_cannot_be_kept_takes_the_rows_with_it(
        self, work: Work, admin: Principal, practice: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outbox_module, "MAX_PAYLOAD_BYTES", 100)
        with pytest.raises(MessageTooLarge):
            async with work(admin) as tx:
                await keep(tx, practice)
                tx.emit(thing(view="x" * 200))
        assert await count(work, practice) == 0

    async def test_a_swallowed_failure_is_not_taken_for_a_commit(self, work: Work, admin: Principal, practice: UUID) -> None:
        with pytest.raises(TransactionAborted):
            async with work(admin) as tx:
                await keep(tx, practice)
                with pytest.raises(asyncpg.NotNullViolationError):
                    await tx.execute("INSERT INTO idempotency (practice_id) VALUES ($1)", practice)

    async def test_callbacks_run_after_the_commit_and_not_without_one(self, work: Work, admin: Principal) -> None:
        heard: list[str] = []
        async with work(admin) as tx:
            tx.after_commit(lambda: heard.append("committed"))
            assert heard == []
        with pytest.raises(ZeroDivisionError):
            async with work(admin) as tx:
                tx.after_commit(lambda: heard.append("never"))
                raise ZeroDivisionError
        assert heard == ["committed"]

    async def test_now_is_one_moment_of_aware_utc(self, work: Work, admin: Principal) -> None:
        before = datetime.now(UTC)
        async with work(admin) as tx:
            assert tx.now is tx.now
            assert before <= tx.now <= datetime.now(UTC)
            assert tx.now.tzinfo is UTC

    async def test_ids_are_ordered_by_time(self, work: Work, admin: Principal) -> None:
        async with work(admin) as tx:
            ids = [tx.new_id() for _ in range(100)]
        assert ids == sorted(ids)
        assert {one.version for one in ids} == {7}

    async def test_json_travels_decoded(self, work: Work, admin: Principal) -> None:
        value = {"a": [1, None, "ü"], "b": {"c": 1.5}}
        async with work(admin) as tx:
            assert await tx.value("SELECT $1::jsonb", json_text(value)) == value
            assert await tx.value("SELECT $1::json", json_text(value)) == value


class TestEmit:
    async def test_a_row_is_a_whole_cloud_event(self, work: Work, admin: Principal, practice: UUID) -> None:
        async with work(admin) as tx:
            tx.cause = Cause("corr", "", TRACE, "vendor=1")
            message = thing()
            message_id = tx.emit(message)
            now = tx.now
        (row,) = await said(work, practice)
        assert (row["id"], row["topic"], row["key"], row["time"]) == (message_id, "vantage.patients.events", str(practice), now)
        assert (row["type"], row["subject"], row["source"]) == (message.type, message.subject, f"/vantage/{SERVICE}")
        assert (row["actor"], row["specversion"], row["datacontenttype"]) == (admin.actor, "1.0", "application/json")
        assert (row["correlation_id"], row["causation_id"], row["traceparent"], row["tracestate"]) == ("corr", "", TRACE, "vendor=1")
        assert row["dataschema"] == f"https://schemas.vantage.example/{message.type}.json"
        assert type(message).model_validate(row["payload"]) == message

    async def test_messages_stand_in_the_order_they_were_said(self, work: Work, admin: Principal, practice: UUID) -> None:
        async with work(admin) as tx:
            ids = [tx.emit(thing(view=str(number))) for number in range(20)]
        assert [row["id"] for row in await said(work, practice)] == ids

    async def test_without_a_cause_a_chain_begins(self, work: Work, admin: Principal, practice: UUID) -> None:
        async with work(admin) as tx:
            tx.emit(thing())
        (row,) = await said(work, practice)
        assert UUID(row["correlation_id"])
        assert row["causation_id"] == ""

    async def test_a_given_cause_and_practice_count_before_the_transactions_own(self, work: Work, practice: UUID) -> None:
        async with work.batch([practice], Principal.system("clock")) as tx:
            tx.emit(thing(), because=Cause("why", "what", TRACE, ""), practice_id=practice)
        (row,) = await said(work, practice)
        assert (row["correlation_id"], row["causation_id"], row["actor"]) == ("why", "what", "system:clock")

    async def test_over_many_practices_the_practice_must_be_named(self, work: Work) -> None:
        async with work.batch([uuid4(), uuid4()], Principal.system("clock")) as tx:
            with pytest.raises(LookupError, match="not bound to one practice"):
                tx.emit(thing())

    async def test_a_message_for_a_practice_outside_the_transaction_is_refused(self, work: Work, admin: Principal) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with work(admin) as tx:
                tx.emit(thing(), practice_id=uuid4())


class TestOnce:
    async def test_a_key_is_new_once_per_source_and_practice(self, work: Work, practice: UUID) -> None:
        async with work(Principal.system("calendar", practice)) as tx:
            answers = [
                await tx.once("calendar", "a"),
                await tx.once("calendar", "a"),
                await tx.once("mail", "a"),
                await tx.once("calendar", "b"),
            ]
        async with work(Principal.system("calendar", uuid4())) as tx:
            answers.append(await tx.once("calendar", "a"))
        assert answers == [True, False, True, True, True]

    async def test_a_mark_is_gone_with_its_transaction(self, work: Work, practice: UUID) -> None:
        principal = Principal.system("calendar", practice)
        with pytest.raises(ZeroDivisionError):
            async with work(principal) as tx:
                assert await tx.once("calendar", "a")
                raise ZeroDivisionError
        async with work(principal) as tx:
            assert await tx.once("calendar", "a")


class TestTenancy:
    async def test_sees_its_own_practices_rows_and_no_others(self, work: Work) -> None:
        mine, theirs = uuid4(), uuid4()
        async with work.batch([mine, theirs], Principal.system("test")) as tx:
            await keep(tx, mine)
            await keep(tx, theirs)
            assert await tx.value(_EFFECTS) == 2
        assert (await count(work, mine), await count(work, theirs), await count(work, uuid4())) == (1, 1, 0)

    async def test_writes_into_no_other_practice(self, work: Work, admin: Principal) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with work(admin) as tx:
                await keep(tx, uuid4())

    async def test_moves_no_row_into_another_practice(self, work: Work, practice: UUID) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with work(Principal.system("test", practice)) as tx:
                await tx.execute("INSERT INTO parked_subject (practice_id, subject) VALUES ($1, 'x')", practice)
                await tx.execute(
                    'INSERT INTO parked (practice_id, id, topic, partition, "offset", subject, headers, value, code) '
                    "VALUES ($1, $2, 't', 0, 0, 'x', '{}', '', 'x')",
                    practice,
                    uuid4(),
                )
                await tx.execute("UPDATE parked SET practice_id = $2 WHERE practice_id = $1", practice, uuid4())

    @pytest.fixture
    async def row(self, work: Work) -> None:
        """Somebody's. Row security asks for the context at the first row it looks at: of an empty table it refuses nothing."""
        somebody = uuid4()
        async with work(Principal.system("test", somebody)) as tx:
            await keep(tx, somebody)

    @pytest.mark.usefixtures("row")
    @pytest.mark.parametrize(
        "forge",
        [
            lambda text, other: text.replace(text.split("|")[1], str(other)),
            lambda text, other: f"{text.split('|')[0]}|{text.split('|')[1]},{other}|{text.split('|')[2]}",
            lambda text, other: f"9999999999|{text.split('|', 1)[1]}",
            lambda text, other: "|".join([*text.split("|")[:2], "0" * 64]),
            lambda text, other: str(other),
            lambda text, other: TenancySigner("00" * 32).context([other]),
        ],
        ids=["another practice", "one practice more", "another expiry", "no signature", "an id alone", "another key"],
    )
    async def test_a_forged_context_opens_nothing(self, forge: Any, work: Work, admin: Principal, practice: UUID) -> None:
        with pytest.raises(asyncpg.PostgresError):
            async with work(admin) as tx:
                honest = await tx.value("SELECT current_setting('vantage.context')")
                await tx.execute("SELECT set_config('vantage.context', $1, true)", forge(honest, uuid4()))
                await tx.value(_EFFECTS)

    @pytest.mark.usefixtures("row")
    async def test_an_expired_context_opens_nothing(self, work: Work, practice: UUID) -> None:
        late = datetime.now(UTC) - timedelta(seconds=CONTEXT_LIFETIME_SECONDS + 5)
        old = TenancySigner(TENANCY_KEY, clock=lambda: late)
        stale = Work(SERVICE, work.engine, old)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="expired"):
            async with stale(Principal.system("test", practice)) as tx:
                await tx.value(_EFFECTS)

    async def test_without_a_context_there_is_nothing(self, work: Work, practice: UUID) -> None:
        async with work(Principal.system("test", practice)) as tx:
            await keep(tx, practice)
        async with work(Principal.system("test", practice)) as tx:
            await tx.execute("SELECT set_config('vantage.context', '', true)")
            assert await tx.value(_EFFECTS) == 0

    async def test_a_context_does_not_outlive_its_transaction(self, work: Work, admin: Principal, practice: UUID) -> None:
        async with work(admin) as tx:
            await keep(tx, practice)
        async with work.engine.connect() as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None
            assert await raw.fetchval(_EFFECTS) == 0

    async def test_a_principal_without_a_practice_opens_none(self, work: Work) -> None:
        with pytest.raises(LookupError, match="opens no tenant transaction"):
            async with work(Principal("user", "x", Role.VANTAGE_ADMIN, None)):
                pass

    async def test_a_system_transaction_may_enter_practices_it_learns_of_and_a_persons_may_not(
        self, work: Work, admin: Principal, practice: UUID
    ) -> None:
        async with work(admin) as tx:
            await keep(tx, practice)
            with pytest.raises(LookupError, match="stays in its practice"):
                await tx.enter([uuid4()])
        async with work.batch([], Principal.system("clock")) as tx:
            assert await tx.value(_EFFECTS) == 0
            await tx.enter([practice])
            assert await tx.value(_EFFECTS) == 1

    async def test_the_application_role_cannot_read_the_key(self, work: Work, admin: Principal) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with work(admin) as tx:
                await tx.value("SELECT secret FROM tenancy.key")

    async def test_the_outbox_and_its_past_cannot_be_changed(self, work: Work, admin: Principal) -> None:
        for statement in ("UPDATE outbox SET type = 'x'", "DELETE FROM outbox", "TRUNCATE outbox"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with work(admin) as tx:
                    await tx.execute(statement)

    async def test_the_platform_is_nobodys_practice_for_a_person(self, work: Work) -> None:
        async with work(Principal.system("test", PLATFORM)) as tx:
            tx.emit(thing())
        async with work(Principal("user", "x", Role.PRACTICE_ADMIN, uuid4())) as tx:
            assert await tx.value("SELECT count(*) FROM outbox WHERE practice_id = $1", PLATFORM) == 0
