"""Every table of every service keeps practices apart, and every way of failing to is seen by the catalogue's check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest

from libs.contracts.topics import SERVICES
from libs.testing.postgres import TestDatabase
from tests.architecture.catalogue import INDEX_EXCEPTIONS, Connection, problems, tenant_tables

_GOOD: LiteralString = """
SET ROLE patients_owner;
CREATE TABLE patients.planted (practice_id uuid NOT NULL, id uuid NOT NULL, other uuid, PRIMARY KEY (practice_id, id));
ALTER TABLE patients.planted ENABLE ROW LEVEL SECURITY;
ALTER TABLE patients.planted FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON patients.planted FOR ALL USING (practice_id = ANY ((SELECT tenancy.practices())::uuid[]))
  WITH CHECK (practice_id = ANY ((SELECT tenancy.practices())::uuid[]));
GRANT SELECT, INSERT, UPDATE, DELETE ON patients.planted TO patients_app;
RESET ROLE;
"""

PLANTS: tuple[tuple[str, LiteralString], ...] = (
    ("has no practice_id", "CREATE TABLE patients.bare (id uuid PRIMARY KEY)"),
    (
        "is global without a reason",
        "CREATE TABLE patients.bare (id uuid PRIMARY KEY); COMMENT ON TABLE patients.bare IS 'global: '",
    ),
    ("practice_id is not uuid NOT NULL", "ALTER TABLE patients.planted DROP CONSTRAINT planted_pkey, ALTER practice_id DROP NOT NULL"),
    ("row security is not enabled", "ALTER TABLE patients.planted DISABLE ROW LEVEL SECURITY"),
    ("row security is not forced", "ALTER TABLE patients.planted NO FORCE ROW LEVEL SECURITY"),
    ("not exactly the standard one", "DROP POLICY tenant ON patients.planted"),
    ("not exactly the standard one", "CREATE POLICY wide ON patients.planted FOR SELECT USING (true)"),
    ("not exactly the standard one", "ALTER POLICY tenant ON patients.planted WITH CHECK (true)"),
    ("not exactly the standard one", "ALTER POLICY tenant ON patients.planted TO patients_app"),
    ("index planted_other leads with other", "CREATE INDEX planted_other ON patients.planted (other)"),
    ("index planted_text leads with (expression)", "CREATE INDEX planted_text ON patients.planted ((other::text))"),
    (
        "does not lead with practice_id on both sides",
        "ALTER TABLE patients.planted ADD UNIQUE (id), ADD FOREIGN KEY (other) REFERENCES patients.planted (id)",
    ),
    ("patients.planted: belongs to patients_app", "ALTER TABLE patients.planted OWNER TO patients_app"),
    ("patients_app may TRUNCATE", "GRANT TRUNCATE ON patients.planted TO patients_app"),
    ("patients_app may REFERENCES", "GRANT REFERENCES ON patients.planted TO patients_app"),
    ("role patients_app has more rights", "ALTER ROLE patients_app BYPASSRLS"),
    ("role patients_app may act as the owner", "GRANT patients_owner TO patients_app"),
    ("role patients_app may create objects", "GRANT CREATE ON SCHEMA patients TO patients_app"),
    ("role scheduling_app may use schema patients", "GRANT USAGE ON SCHEMA patients TO scheduling_app"),
    ("patients.planted: scheduling_app may SELECT", "GRANT SELECT ON patients.planted TO scheduling_app"),
    ("patients.planted: debezium may SELECT", "GRANT SELECT ON patients.planted TO debezium"),
    ("patients.outbox: auditor may SELECT payload", "GRANT SELECT (payload) ON patients.outbox TO auditor"),
    ("not exactly the standard one", "CREATE POLICY auditor ON patients.planted FOR SELECT TO auditor USING (true)"),
    ("not exactly the standard one", "ALTER POLICY auditor ON patients.outbox TO patients_app"),
    ("patients.planted: PUBLIC may SELECT", "GRANT SELECT ON patients.planted TO PUBLIC"),
    ("without a pinned search_path", "CREATE FUNCTION patients.loose() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'"),
    ("the policy's function is volatile", "ALTER FUNCTION tenancy.practices() VOLATILE"),
    ("view patients.seen reads with its owner's rights", "CREATE VIEW patients.seen AS SELECT * FROM patients.planted"),
    ("role audit_app may touch the tenancy key", "GRANT SELECT ON tenancy.key TO audit_app"),
    ("role patients_owner may create objects in schema tenancy", "GRANT CREATE ON SCHEMA tenancy TO patients_owner"),
)


@pytest.fixture
def superuser(database: TestDatabase) -> Iterator[Connection]:
    """A superuser's transaction that is never committed."""
    connection: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(database.url("postgres"))
    with connection:
        yield connection
        connection.rollback()


def test_the_house_as_built_keeps_practices_apart(superuser: Connection) -> None:
    assert problems(superuser) == []


def test_every_service_has_its_standard_tables(superuser: Connection) -> None:
    tables = set(tenant_tables(superuser))
    assert {f"{service}.{table}" for service in SERVICES for table in ("outbox", "parked", "idempotency")} <= tables


@pytest.mark.parametrize(("expected", "statement"), PLANTS)
def test_a_planted_leak_is_seen(expected: str, statement: LiteralString, superuser: Connection) -> None:
    superuser.execute(_GOOD)
    assert problems(superuser) == []
    superuser.execute(statement)
    assert any(expected in problem for problem in problems(superuser))


def test_exceptions_are_indexes_that_exist(superuser: Connection) -> None:
    rows = superuser.execute("SELECT DISTINCT indexname::text FROM pg_indexes WHERE schemaname = ANY (%s)", [list(SERVICES)]).fetchall()
    assert set(INDEX_EXCEPTIONS) <= {name for (name,) in rows}
