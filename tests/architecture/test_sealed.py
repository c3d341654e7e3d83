"""Every column that holds bytes either holds sealed values, declared and reached by a rotation of keys, or is known to hold none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest

from libs.contracts.topics import SERVICES
from libs.testing.postgres import TestDatabase
from tests.architecture.doors import build

UNSEALED = {
    "parked.value": "messages as Kafka brought them",
    "idempotency.fingerprint": "hashes of requests",
    "idempotency.body": "answers, sealed, and not rotated: none older than a day is ever read",
    "practices.api_key.digest": "hashes of keys",
    "scheduling.set_aside_notice.body": "notices as they came",
    "scheduling.webhook_delivery.body": "events as they go out",
    "audit.entry.entry": "the ledger's own bytes",
    "audit.entry.leaf": "hashes",
    "audit.head.frontier": "hashes",
    "audit.checkpoint.root": "hashes",
    "audit.checkpoint.frontier": "hashes",
}
"""Columns of bytes that hold no sealed value, and what they hold; without a schema: of every service."""

_BYTES = """
SELECT n.nspname, c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%s) AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid IN ('bytea'::regtype, 'bytea[]'::regtype)
"""
_REACHED = """
SELECT has_column_privilege(%(app)s, %(table)s, %(column)s, 'SELECT') AND has_column_privilege(%(app)s, %(table)s, %(column)s, 'UPDATE'),
  EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
          WHERE t.tgrelid = %(table)s::regclass AND p.proname = 'note_sealed_practice' AND t.tgenabled = 'O' AND t.tgtype = 5)
"""

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def superuser(database: TestDatabase) -> Iterator[Connection]:
    """A superuser's transaction that is never committed."""
    connection: Connection = psycopg.connect(database.url("postgres"))
    with connection:
        yield connection
        connection.rollback()


@pytest.fixture(scope="module")
def declared() -> set[str]:
    return {f"{service}.{sealed.table}.{sealed.column}" for service in SERVICES for sealed in build(service).sealed}


def problems(connection: Connection, declared: set[str]) -> list[str]:
    """Everything that is wrong, one line each."""
    columns = {".".join(row) for row in connection.execute(_BYTES, [list(SERVICES)]).fetchall()}
    unsealed = {column for column in columns if column in UNSEALED or column.partition(".")[2] in UNSEALED}
    found = [f"{column}: holds bytes and is not declared" for column in sorted(columns - unsealed - declared)]
    found += [f"{column}: is declared and holds no sealed value" for column in sorted(declared & unsealed)]
    found += [f"{column}: is declared and does not exist" for column in sorted(declared - columns)]
    return found + [problem for column in sorted(declared & columns) for problem in _out_of_reach(connection, column)]


def _out_of_reach(connection: Connection, name: str) -> Iterator[str]:
    table, _, column = name.rpartition(".")
    where = {"app": f"{table.partition('.')[0]}_app", "table": table, "column": column}
    row = connection.execute(_REACHED, where).fetchone()
    assert row is not None
    may_change, noted = row
    if not may_change:
        yield f"{name}: a rotation may not change it"
    if not noted:
        yield f"{name}: a rotation does not learn of its practices"


def test_every_sealed_column_is_declared_and_reached_by_a_rotation(superuser: Connection, declared: set[str]) -> None:
    assert len(declared) >= 5
    assert problems(superuser, declared) == []


PLANTS: tuple[tuple[str, LiteralString], ...] = (
    (
        "patients.contact_secret.kept: holds bytes and is not declared",
        "CREATE TABLE patients.contact_secret (practice_id uuid, kept bytea)",
    ),
    ("audit.entry.sealed: holds bytes and is not declared", "ALTER TABLE audit.entry ADD sealed bytea"),
    ("practices.many.secrets: holds bytes and is not declared", "CREATE TABLE practices.many (practice_id uuid, secrets bytea[])"),
    ("notifications.email_settings.api_key: is declared and does not exist", "ALTER TABLE notifications.email_settings DROP api_key"),
    (
        "notifications.email_settings.api_key: a rotation may not change it",
        "REVOKE UPDATE ON notifications.email_settings FROM notifications_app",
    ),
    (
        "scheduling.webhook_endpoint.secret: a rotation does not learn of its practices",
        "DROP TRIGGER note_sealed_practice ON scheduling.webhook_endpoint",
    ),
    (
        "scheduling.calcom_settings.previous_secret: a rotation does not learn of its practices",
        "ALTER TABLE scheduling.calcom_settings DISABLE TRIGGER note_sealed_practice",
    ),
)


@pytest.mark.parametrize(("expected", "statement"), PLANTS)
def test_a_column_a_rotation_would_miss_is_seen(expected: str, statement: LiteralString, superuser: Connection, declared: set[str]) -> None:
    superuser.execute(statement)
    assert expected in problems(superuser, declared)


def test_a_column_that_was_taken_for_bytes_only_cannot_be_declared(superuser: Connection, declared: set[str]) -> None:
    assert "audit.entry.leaf: is declared and holds no sealed value" in problems(superuser, declared | {"audit.entry.leaf"})


def test_what_is_known_to_hold_no_sealed_value_exists(superuser: Connection) -> None:
    rows = superuser.execute(_BYTES, [list(SERVICES)]).fetchall()
    assert set(UNSEALED) <= {".".join(row) for row in rows} | {f"{table}.{column}" for _, table, column in rows}
