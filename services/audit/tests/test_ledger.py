"""The ledger: every message once, in order, signed without contradiction, and proved to whoever asks."""

from __future__ import annotations

import asyncio
import base64
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import orjson
import psycopg
import pytest

from libs.common.auth import Principal
from libs.common.messaging import Incoming
from libs.common.service import Service
from libs.common.work import Work
from libs.contracts.envelope import Message
from libs.contracts.patients import PatientDetails, PatientRecordViewed, PatientRegistered
from libs.testing.fixtures import incoming
from libs.testing.postgres import PASSWORD, TEMPLATE, TestDatabase
from services.audit.__main__ import reconcile, verify
from services.audit.commands.checkpoints import Inconsistent, Signer, _sign, sign_changed
from services.audit.rules.merkle import leaf_hash, verify_consistency, verify_inclusion
from services.audit.rules.notes import Checkpoint, opened, parse_proof
from services.audit.rules.verification import Verdict
from services.audit.tests.conftest import SEED
from services.audit.timers import sign_checkpoints

Headers = dict[str, str]
Superuser = psycopg.Connection[tuple[Any, ...]]
SIGNER = Signer.of("ledger.vantage.example", SEED)


def viewed() -> PatientRecordViewed:
    return PatientRecordViewed(patient_id=uuid4(), view="record")


def registered() -> PatientRegistered:
    return PatientRegistered(patient_id=uuid4(), version=1, details=PatientDetails(given_name="Mira", family_name="Holm"))


@pytest.fixture
def superuser(database: TestDatabase) -> Any:
    with psycopg.connect(database.url("postgres"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def hear(service: Service, practice: UUID) -> Callable[..., Any]:
    """Messages of the test's practice arrive; returns the records."""

    async def arrive(*messages: Message) -> list[Incoming]:
        records = [incoming(message, practice) for message in messages]
        await service.batches.handle(records)
        return records

    return arrive


async def ledger(client: httpx.AsyncClient, headers: Headers, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/v1/ledger/entries", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def signed(work: Work, practice: UUID) -> Checkpoint:
    async with work(Principal.system("signer", practice)) as tx:
        await _sign(practice, SIGNER, tx)
        note = await tx.value("SELECT note FROM checkpoint WHERE practice_id = $1 ORDER BY size DESC LIMIT 1", practice)
    return Checkpoint.parse(opened(note, [SIGNER.verifier]))


class TestAppend:
    async def test_every_message_becomes_an_entry_in_its_order(
        self, hear: Any, client: httpx.AsyncClient, as_admin: Headers, practice: UUID
    ) -> None:
        records = await hear(*(viewed() for _ in range(10)))
        entries = await ledger(client, as_admin)
        assert [entry["event_id"] for entry in entries] == [record.headers["ce_id"] for record in records]
        assert [entry["seq"] for entry in entries] == list(range(10))
        assert {entry["entry"]["log"] for entry in entries} == {str(practice)}

    async def test_an_event_is_entered_once_however_often_it_comes(
        self, hear: Any, service: Service, client: httpx.AsyncClient, as_admin: Headers
    ) -> None:
        records = await hear(viewed(), viewed())
        await service.batches.handle([records[0], records[0], records[1]])
        await asyncio.gather(*(service.batches.handle(records) for _ in range(4)))
        assert len(await ledger(client, as_admin)) == 2

    async def test_many_batches_at_once_leave_no_gap(
        self, service: Service, practice: UUID, client: httpx.AsyncClient, as_admin: Headers, work: Work
    ) -> None:
        batches = [[incoming(viewed(), practice) for _ in range(5)] for _ in range(8)]
        await asyncio.gather(*(service.batches.handle(batch) for batch in batches))
        entries = await ledger(client, as_admin, limit=100)
        assert [entry["seq"] for entry in entries] == list(range(40))
        assert (await signed(work, practice)).size == 40

    async def test_an_event_of_an_unknown_type_or_without_readable_data_is_entered_by_its_envelope(
        self, service: Service, practice: UUID, client: httpx.AsyncClient, as_admin: Headers
    ) -> None:
        unknown = incoming(viewed(), practice, ce_type="vantage.patients.never-heard-of.v7")
        good = incoming(viewed(), practice)
        unreadable = Incoming(good.topic, 0, good.offset, good.headers, b"{")
        await service.batches.handle([unknown, unreadable])
        assert [entry["entry"]["data"] for entry in await ledger(client, as_admin)] == [None, None]

    async def test_nothing_personal_is_entered(self, hear: Any, client: httpx.AsyncClient, as_admin: Headers) -> None:
        await hear(registered())
        (entry,) = await ledger(client, as_admin)
        assert entry["entry"]["fields"] == ["details"]
        assert "Mira" not in str(entry)

    async def test_the_same_id_with_another_content_is_entered_as_a_conflict_once(
        self, hear: Any, service: Service, practice: UUID, client: httpx.AsyncClient, as_admin: Headers
    ) -> None:
        (record,) = await hear(viewed())
        forged = incoming(viewed(), practice, ce_id=record.headers["ce_id"])
        for _ in range(2):
            await service.batches.handle([forged])
        entries = await ledger(client, as_admin)
        assert [entry["entry"]["type"] for entry in entries] == ["vantage.patients.patient-record-viewed.v1", "ledger.conflict"]
        assert entries[1]["entry"]["data"]["event_id"] == record.headers["ce_id"]

    async def test_practices_have_logs_of_their_own(self, service: Service, practice: UUID, work: Work) -> None:
        stranger = uuid4()
        await service.batches.handle([incoming(viewed(), where) for where in (practice, stranger, practice)])
        one, two = await signed(work, practice), await signed(work, stranger)
        assert (one.size, two.size) == (2, 1)
        assert one.origin != two.origin
        assert str(practice) not in one.origin

    @pytest.mark.parametrize("table", ["log", "entry", "checkpoint"])
    async def test_nobody_changes_the_past(self, table: str, hear: Any, work: Work, practice: UUID, superuser: Superuser) -> None:
        await hear(viewed())
        await signed(work, practice)
        for statement in (f"UPDATE {table} SET practice_id = practice_id", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with work(Principal.system("test", practice)) as tx:
                    await tx.execute(statement)
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
                superuser.execute(statement.replace(table, f"audit.{table}", 1))


class TestCheckpoints:
    async def test_say_what_the_entries_say(self, hear: Any, work: Work, practice: UUID) -> None:
        await hear(viewed(), viewed())
        first = await signed(work, practice)
        await hear(viewed())
        second = await signed(work, practice)
        assert (first.size, second.size, first.origin) == (2, 3, second.origin)

    async def test_are_made_for_every_log_that_changed_and_for_no_other(self, hear: Any, work: Work, practice: UUID) -> None:
        await hear(viewed())
        assert await sign_checkpoints(work, SIGNER) is None
        before = await self._checkpoints(work, practice)
        await sign_changed(work, SIGNER)
        assert (before, await self._checkpoints(work, practice)) == (1, 1)

    async def _checkpoints(self, work: Work, practice: UUID) -> int:
        async with work(Principal.system("test", practice)) as tx:
            return int(await tx.value("SELECT count(*) FROM checkpoint WHERE practice_id = $1", practice))

    @pytest.mark.parametrize(
        "tamper",
        [
            "UPDATE audit.entry SET entry = '{}' WHERE practice_id = %(p)s AND seq = 2",
            "UPDATE audit.entry SET leaf = decode(repeat('00', 32), 'hex') WHERE practice_id = %(p)s AND seq = 2",
            "DELETE FROM audit.entry WHERE practice_id = %(p)s AND seq = 3",
            "UPDATE audit.head SET size = 9 WHERE practice_id = %(p)s",
            "UPDATE audit.head SET frontier = '' WHERE practice_id = %(p)s",
            "UPDATE audit.checkpoint SET frontier = decode(repeat('00', 32), 'hex') WHERE practice_id = %(p)s",
        ],
    )
    async def test_are_not_signed_over_what_was_changed_behind_our_back(
        self, tamper: str, hear: Any, work: Work, practice: UUID, superuser: Superuser
    ) -> None:
        await hear(viewed(), viewed())
        await signed(work, practice)
        await hear(viewed(), viewed())
        superuser.execute("BEGIN")
        for table in ("entry", "checkpoint"):
            superuser.execute(f"ALTER TABLE audit.{table} DISABLE TRIGGER ALL")
        superuser.execute(tamper, {"p": practice})
        for table in ("entry", "checkpoint"):
            for trigger in ("append_only_rows", "append_only_table"):
                superuser.execute(f"ALTER TABLE audit.{table} ENABLE ALWAYS TRIGGER {trigger}")
        superuser.execute("COMMIT")
        with pytest.raises(Inconsistent):
            await signed(work, practice)
        await sign_changed(work, SIGNER)
        async with work(Principal.system("test", practice)) as tx:
            assert await tx.value("SELECT max(size) FROM checkpoint WHERE practice_id = $1", practice) == 2
            assert await tx.value("SELECT count(*) FROM unsigned WHERE practice_id = $1", practice) == 1


class TestProofs:
    async def test_a_receipt_proves_its_entry_offline(
        self, hear: Any, work: Work, client: httpx.AsyncClient, as_admin: Headers, practice: UUID
    ) -> None:
        await hear(*(viewed() for _ in range(7)))
        await signed(work, practice)
        for entry in await ledger(client, as_admin):
            receipt = await client.get("/v1/ledger/proof/inclusion", params={"event_id": entry["event_id"]}, headers=as_admin)
            index, proof, note = parse_proof(receipt.text)
            checkpoint = Checkpoint.parse(opened(note, [SIGNER.verifier]))
            verify_inclusion(bytes.fromhex(entry["leaf"]), index, checkpoint.size, proof, checkpoint.root)
            assert leaf_hash(orjson.dumps(entry["entry"], option=orjson.OPT_SORT_KEYS)).hex() == entry["leaf"]

    async def test_one_checkpoint_is_proved_to_continue_another(
        self, hear: Any, work: Work, client: httpx.AsyncClient, as_admin: Headers, practice: UUID
    ) -> None:
        await hear(viewed(), viewed(), viewed())
        old = await signed(work, practice)
        await hear(viewed(), viewed())
        new = await signed(work, practice)
        answer = (await client.get("/v1/ledger/proof/consistency", params={"old": 3, "new": 5}, headers=as_admin)).json()
        verify_consistency(3, 5, old.root, new.root, [base64.b64decode(node) for node in answer["proof"]])

    @pytest.mark.parametrize(("old", "new"), [(1, 3), (3, 4), (3, 1)])
    async def test_sizes_that_were_never_signed_are_refused(
        self, old: int, new: int, hear: Any, work: Work, client: httpx.AsyncClient, as_admin: Headers, practice: UUID
    ) -> None:
        await hear(viewed(), viewed(), viewed())
        await signed(work, practice)
        answer = await client.get("/v1/ledger/proof/consistency", params={"old": old, "new": new}, headers=as_admin)
        assert (answer.status_code, answer.json()["code"]) == (422, "sizes_invalid")

    async def test_what_is_not_signed_yet_has_no_proof(self, hear: Any, client: httpx.AsyncClient, as_admin: Headers) -> None:
        (record,) = await hear(viewed())
        for path in ("checkpoint", "export", f"proof/inclusion?event_id={record.headers['ce_id']}"):
            answer = await client.get(f"/v1/ledger/{path}", headers=as_admin)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_signed_yet")

    async def test_entries_are_found_by_type_subject_and_correlation(self, hear: Any, client: httpx.AsyncClient, as_admin: Headers) -> None:
        view, register = await hear(viewed(), registered())
        for query in (
            {"type": view.headers["ce_type"]},
            {"subject": view.headers["ce_subject"]},
            {"correlation_id": view.headers["correlation_id"]},
        ):
            assert [entry["event_id"] for entry in await ledger(client, as_admin, **query)] == [view.headers["ce_id"]]
        page = (await client.get("/v1/ledger/entries", params={"limit": 1}, headers=as_admin)).json()
        rest = await ledger(client, as_admin, cursor=page["next_cursor"])
        assert [entry["event_id"] for entry in rest] == [register.headers["ce_id"]]

    @pytest.mark.parametrize(
        "path", ["entries", f"entries/{UUID(int=5)}", "checkpoint", "export", "vkey", f"proof/inclusion?event_id={UUID(int=5)}"]
    )
    async def test_the_ledger_is_for_practice_admins(
        self, path: str, client: httpx.AsyncClient, as_user: Headers, as_vantage_admin: Headers
    ) -> None:
        for headers in (as_user, as_vantage_admin):
            assert (await client.get(f"/v1/ledger/{path}", headers=headers)).status_code == 403


class TestExport:
    @pytest.fixture
    async def bundle(self, hear: Any, work: Work, client: httpx.AsyncClient, as_admin: Headers, practice: UUID, tmp_path: Path) -> Path:
        await hear(registered(), viewed(), viewed())
        await signed(work, practice)
        await hear(viewed())
        path = tmp_path / "ledger.tar"
        path.write_bytes((await client.get("/v1/ledger/export", headers=as_admin)).content)
        return path

    def change(self, bundle: Path, name: str, content: Callable[[bytes], bytes]) -> None:
        with tarfile.open(bundle) as archive:
            files = {member.name: _content(archive, member) for member in archive.getmembers()}
        files[name] = content(files[name])
        with tarfile.open(bundle, "w") as archive:
            for member, data in files.items():
                entry = tarfile.TarInfo(member)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))

    def test_verifies_offline_with_the_key_we_gave_and_with_its_own(self, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert verify([str(bundle), "--vkey", SIGNER.verifier.vkey]) == verify([str(bundle)]) == 0
        assert capsys.readouterr().out.startswith("genuine: 3 entries")

    @pytest.mark.parametrize(
        ("name", "content", "verdict"),
        [
            ("entries.jsonl", lambda data: data.replace(b"user:test", b"user:eve!", 1), Verdict.TAMPERED),
            ("entries.jsonl", lambda data: b"\n".join(reversed(data.splitlines())) + b"\n", Verdict.TAMPERED),
            ("entries.jsonl", lambda data: data.splitlines()[0] + b"\n" + data.splitlines()[0] + b"\n" + data, Verdict.TAMPERED),
            ("entries.jsonl", lambda data: data.replace(b'{"actor"', b'{ "actor"', 1), Verdict.TAMPERED),
            ("entries.jsonl", lambda data: b"[]\n" * 3, Verdict.TAMPERED),
            ("entries.jsonl", lambda data: b"\xff\n" * 3, Verdict.TAMPERED),
            ("entries.jsonl", lambda data: b"\n".join(data.splitlines()[:2]) + b"\n", Verdict.TRUNCATED),
            ("entries.jsonl", lambda data: b"", Verdict.TRUNCATED),
            ("checkpoint", lambda data: data.replace(b"\n3\n", b"\n2\n"), Verdict.BAD_SIGNATURE),
            ("checkpoint", lambda data: b"", Verdict.BAD_SIGNATURE),
            ("checkpoint", lambda data: b"\xff", Verdict.UNUSABLE),
        ],
    )
    def test_says_what_was_changed(
        self, name: str, content: Callable[[bytes], bytes], verdict: Verdict, bundle: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.change(bundle, name, content)
        assert verify([str(bundle), "--vkey", SIGNER.verifier.vkey]) == verdict
        assert capsys.readouterr().err.count("\n") == 1

    def test_is_not_genuine_by_another_key(self, bundle: Path) -> None:
        other = Signer.of("ledger.vantage.example", "08" * 32)
        assert verify([str(bundle), "--vkey", other.verifier.vkey]) == Verdict.BAD_SIGNATURE
        assert verify([str(bundle), "--vkey", "nonsense"]) == Verdict.UNUSABLE

    def test_that_is_none_is_unusable(self, tmp_path: Path) -> None:
        (tmp_path / "x.tar").write_text("no archive")
        assert verify([str(tmp_path / "x.tar")]) == verify([str(tmp_path / "nothing.tar")]) == Verdict.UNUSABLE

    async def test_of_another_practice_is_another(self, bundle: Path, client: httpx.AsyncClient, as_stranger: Headers) -> None:
        assert bundle.name
        assert (await client.get("/v1/ledger/export", headers=as_stranger)).status_code == 404


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    assert stream is not None
    return stream.read()


class TestReconcile:
    """On a database of its own: elsewhere other tests have said things that no ledger heard."""

    @pytest.fixture
    def own(self, postgres_server: tuple[str, int]) -> Any:
        host, port = postgres_server
        name = f"reconcile_{uuid4().hex}"
        with psycopg.connect(f"postgresql://postgres:{PASSWORD}@{host}:{port}/postgres", autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(1)")  # CREATE DATABASE refuses a template in use
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
            connection.execute("ALTER ROLE auditor PASSWORD 'test'")
        return TestDatabase(host, port, name)

    def say(self, superuser: Superuser, practice: UUID) -> str:
        event = str(uuid4())
        superuser.execute(
            "INSERT INTO patients.outbox (id, topic, key, practice_id, type, source, subject, time, payload) "
            "VALUES (%s, 't', 'k', %s, 't', 's', 's', now() - interval '1 minute', '{}')",
            [event, practice],
        )
        return event

    def enter(self, superuser: Superuser, practice: UUID, event: str, seq: int) -> str:
        superuser.execute("INSERT INTO audit.log VALUES (%s, %s, now()) ON CONFLICT DO NOTHING", [practice, str(practice)])
        superuser.execute(
            "INSERT INTO audit.entry VALUES (%s, %s, %s, 't', 's', 'c', now(), '{}', decode(repeat('00', 32), 'hex'))",
            [practice, seq, event],
        )
        return event

    def rows(self, own: TestDatabase, capsys: pytest.CaptureFixture[str], settle: str = "0") -> tuple[int, set[tuple[str, ...]]]:
        code = reconcile(["--url", own.url("auditor"), "--settle", settle])
        return code, {tuple(line.split("\t")) for line in capsys.readouterr().out.splitlines()}

    def test_says_that_everything_is_there(self, own: TestDatabase, practice: UUID, capsys: pytest.CaptureFixture[str]) -> None:
        with psycopg.connect(own.url("postgres"), autocommit=True) as superuser:
            self.enter(superuser, practice, self.say(superuser, practice), 0)
        assert self.rows(own, capsys) == (0, {("1 said, 1 entered, 0 different",)})

    def test_names_what_is_missing_and_what_was_never_said(
        self, own: TestDatabase, practice: UUID, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with psycopg.connect(own.url("postgres"), autocommit=True) as superuser:
            self.enter(superuser, practice, self.say(superuser, practice), 0)
            missing = self.say(superuser, practice)
            surplus = self.enter(superuser, practice, str(uuid4()), 1)
        never, late = ("surplus", "audit", surplus), ("missing", "patients", missing)
        assert self.rows(own, capsys) == (1, {never, late, ("2 said, 2 entered, 2 different",)})
        assert self.rows(own, capsys, settle="3600") == (1, {never, ("2 said, 2 entered, 1 different",)})

    def test_says_so_when_the_database_cannot_be_asked(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert reconcile(["--url", "postgresql://auditor:x@127.0.0.1:1/none"]) == 5
        assert capsys.readouterr().err.count("\n") == 1
