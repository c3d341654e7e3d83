"""The database as declared: roles, schemas, tenancy key, publication, slot. Repeatable; drift is told."""

from __future__ import annotations

import psycopg
from psycopg import sql

from deploy.native.state import ROLES, State
from deploy.render import DEPLOY
from libs.contracts.topics import SERVICES

BOOTSTRAP = DEPLOY / "postgres" / "bootstrap.sql"
PUBLICATION = DEPLOY / "postgres" / "publication.sql"


def _connect(state: State, database: str = "vantage") -> psycopg.Connection:
    return psycopg.connect(state.url("postgres", database), autocommit=True, connect_timeout=5)


def bootstrap(state: State) -> None:
    """Database, roles with this installation's passwords, schemas, tenancy key."""
    with _connect(state, "postgres") as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = 'vantage'").fetchone() is None:
            connection.execute("CREATE DATABASE vantage")
    with _connect(state) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute(BOOTSTRAP.read_bytes())
        for role in ROLES:
            change = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(state.secrets[role]))
            connection.execute(change)
        connection.execute(
            "INSERT INTO tenancy.key VALUES (true, decode(%s, 'hex')) ON CONFLICT (single) DO UPDATE SET secret = excluded.secret",
            [state.secrets["tenancy_key"]],
        )


def publish(state: State) -> None:
    """Publication and slot, before the first write."""
    with _connect(state) as connection:
        connection.execute(PUBLICATION.read_bytes())
        for table in sorted(_published_as_declared() - _published(connection)):
            connection.execute(sql.SQL("ALTER PUBLICATION outbox_pub ADD TABLE {}").format(sql.Identifier(*table.split("."))))
        if connection.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'outbox_slot'").fetchone() is None:
            connection.execute("SELECT pg_create_logical_replication_slot('outbox_slot', 'pgoutput')")


def system_identifier(state: State) -> str:
    """Names this Postgres cluster for ever; a re-created one has another."""
    with _connect(state) as connection:
        return str(_one(connection, "SELECT system_identifier FROM pg_control_system()"))


def current_lsn(state: State) -> int:
    """The server's WAL position as a number."""
    with _connect(state) as connection:
        return int(str(_one(connection, "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")))


def slot_lag_bytes(state: State) -> int | None:
    """How much WAL the slot holds back; None when there is no slot."""
    with _connect(state) as connection:
        row = connection.execute(
            "SELECT pg_current_wal_lsn() - confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'outbox_slot'"
        ).fetchone()
        return None if row is None or row[0] is None else int(row[0])


def _one(connection: psycopg.Connection, statement: str) -> object:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]


def _published(connection: psycopg.Connection) -> set[str]:
    rows = connection.execute("SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = 'outbox_pub'")
    return {f"{row[0]}.{row[1]}" for row in rows}


def _published_as_declared() -> set[str]:
    return {"cdc.heartbeat", *(f"{service}.outbox" for service in SERVICES)}


def drift(state: State) -> list[str]:
    """What differs from what is declared."""
    found: list[str] = []
    with _connect(state) as connection:
        roles = {row[0]: row for row in connection.execute("SELECT rolname, rolsuper, rolbypassrls, rolcanlogin FROM pg_roles")}
        for role in ROLES:
            if role not in roles:
                found.append(f"role {role} is missing")
            elif role != "postgres" and (roles[role][1] or roles[role][2]):
                found.append(f"role {role} may bypass row security")
        tables, wanted = _published(connection), _published_as_declared()
        found += [f"publication lacks {table}" for table in sorted(wanted - tables)]
        found += [f"publication has {table} beyond what is declared" for table in sorted(tables - wanted)]
        if connection.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'outbox_slot'").fetchone() is None:
            found.append("replication slot outbox_slot is missing")
    return found
