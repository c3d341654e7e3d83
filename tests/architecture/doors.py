"""Every HTTP operation of the house, and one thing of a practice for every id an operation takes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, LiteralString, cast
from uuid import UUID, uuid4

import psycopg
import psycopg.sql

from libs.common.service import Service
from libs.contracts.topics import SERVICES
from libs.testing.fixtures import AUDIENCE, CURSOR_KEY, ISSUER, SECRETS_KEYS
from libs.testing.postgres import TENANCY_KEY

EXTRA = {"audit": {"ledger_signing_key": "11" * 32}}
PUBLIC = {"/webhooks/calcom/{practice_id}", "/webhooks/sendgrid/{practice_id}"}
"""Doors whose callers prove themselves by a signature; their services' tests walk them."""

_DEFINITION = {
    "trigger": {"event": "vantage.scheduling.appointment-booked.v1"},
    "steps": [{"kind": "wait", "id": "pause", "duration": "PT1H"}],
}
THINGS: dict[str, tuple[tuple[str, dict[str, object]], ...]] = {
    "user_id": (("practices.member", {"role": "regular_user"}),),
    "patient_id": (("patients.patient", {}),),
    "appointment_id": (
        ("scheduling.appointment", {"status": "booked", "source": "local", "ends_at": "2100-01-01T00:00:00Z", "time_zone": "UTC"}),
    ),
    "delivery_id": (("scheduling.webhook_delivery", {"state": "exhausted"}),),
    "workflow_id": (("workflows.workflow", {"draft": json.dumps(_DEFINITION)}),),
    "run_id": (("workflows.run", {"status": "running"}),),
    "message_id": (("notifications.message", {"effect_key": "{id}"}), ("notifications.effect", {"effect_key": "{id}", "state": "planned"})),
    "event_id": (("audit.entry", {"event_id": "{id}", "entry": b"{}", "leaf": b"x" * 32}),),
}
"""For each id in a path or query: the rows that make it exist. ``{id}`` is the id; everything else is made up."""

BODIES: dict[str, dict[str, Any]] = {
    "PATCH /v1/users/{user_id}": {"role": "regular_user"},
    "PATCH /v1/patients/{patient_id}": {"family_name": "Holm"},
    "POST /v1/appointments/{appointment_id}/reschedule": {"starts_at": "2030-01-01T09:00:00Z", "ends_at": "2030-01-01T10:00:00Z"},
    "POST /v1/appointments/{appointment_id}/cancel": {},
    "PUT /v1/workflows/{workflow_id}": {"name": "Renamed", "definition": _DEFINITION},
}
"""A valid body for each operation that takes an id and a body."""


@dataclass(frozen=True)
class Operation:
    service: str
    method: str
    path: str
    ids: tuple[str, ...]
    query_ids: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def build(service: str, database_url: str = "postgresql://nobody@127.0.0.1:1/none") -> Service:
    """The service as its process would build it; nothing connects before the first request."""
    settings = importlib.import_module(f"services.{service}.settings").Settings
    values = {
        "http_port": 1, "database_url": database_url, "kafka": "127.0.0.1:1", "tenancy_key": TENANCY_KEY, "secrets_keys": SECRETS_KEYS,
        "cursor_key": CURSOR_KEY, "issuer": ISSUER, "audience": AUDIENCE, "jwks_url": "http://127.0.0.1:1/", **EXTRA.get(service, {}),
    }  # fmt: skip
    return cast("Service", importlib.import_module(f"services.{service}.app").build(settings(**values)))


def operations() -> Iterator[Operation]:
    """Everything every OpenAPI document offers."""
    for service in SERVICES:
        for path, methods in build(service).app.openapi()["paths"].items():
            for method, operation in methods.items():
                ids = [(p["in"], p["name"]) for p in operation.get("parameters", []) if _is_id(p["schema"])]
                in_path, in_query = (tuple(name for where, name in ids if where == place) for place in ("path", "query"))
                yield Operation(service, method.upper(), path, in_path, in_query)


def _is_id(schema: dict[str, Any]) -> bool:
    return any(option.get("format") == "uuid" for option in schema.get("anyOf", [schema]))


def plant(connection: psycopg.Connection[tuple[Any, ...]], name: str, practice: UUID) -> UUID:
    """Make the thing an id names exist in a practice, whatever else would have to exist beside it."""
    thing = uuid4()
    connection.execute("SET session_replication_role = replica")
    for table, values in THINGS[name]:
        given = {"practice_id": practice, "id": thing, **{key: thing if value == "{id}" else value for key, value in values.items()}}
        _insert(connection, table, given)
    return thing


_COLUMNS = """
SELECT column_name, data_type FROM information_schema.columns
WHERE table_schema = split_part(%s, '.', 1) AND table_name = split_part(%s, '.', 2) AND is_generated = 'NEVER' AND is_identity = 'NO'
  AND (is_nullable = 'NO' AND column_default IS NULL OR column_name = ANY (%s))
"""
_MADE_UP: dict[str, LiteralString] = {
    "uuid": "gen_random_uuid()", "text": "'x'", "integer": "1", "bigint": "1", "boolean": "false", "jsonb": "'{}'", "bytea": "''",
    "timestamp with time zone": "now()", "date": "current_date",
}  # fmt: skip


def _insert(connection: psycopg.Connection[tuple[Any, ...]], table: str, given: dict[str, object]) -> None:
    columns = connection.execute(_COLUMNS, [table, table, list(given)]).fetchall()
    names = psycopg.sql.SQL(", ").join(psycopg.sql.Identifier(name) for name, _ in columns)
    values = psycopg.sql.SQL(", ").join(
        psycopg.sql.Literal(given[name]) if name in given else psycopg.sql.SQL(_MADE_UP[kind]) for name, kind in columns
    )
    target = psycopg.sql.Identifier(*table.split("."))
    connection.execute(psycopg.sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(target, names, values))
