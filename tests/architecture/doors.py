"""Every HTTP operation of the house, and one thing of a practice for every id an operation takes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, LiteralString, cast
from uuid import UUID, uuid4

import psycopg
import psycopg.sql

from libs.common.auth import Permission, Role
from libs.common.service import Service
from libs.common.tokens import house_token
from libs.contracts.envelope import PLATFORM
from libs.contracts.topics import SERVICES
from libs.testing.fixtures import AUDIENCE, CURSOR_KEY, EXTRA, GATEWAY_KEY, GATEWAY_PROOF, ISSUER, SECRETS_KEYS, Headers, Token
from libs.testing.postgres import TENANCY_KEY
from tools.generate.examples import EXAMPLES

_DEFINITION = {
    "trigger": {"event": "vantage.scheduling.appointment-booked.v1"},
    "steps": [{"kind": "wait", "id": "pause", "duration": "PT1H"}],
}
_CONDITION = {"blocks": {"all": [{"field": "patient.email", "operator": "is_not_empty"}]}}
_SHARED: dict[str, object] = {"visibility": "shared", "condition": json.dumps(_CONDITION)}
THINGS: dict[str, tuple[tuple[str, dict[str, object]], ...]] = {
    "user_id": (
        ("practices.member", {"role": "regular_user", "status": "invited"}),
        ("practices.invitation", {"user_id": "{id}", "expires_at": "2100-01-01T00:00:00Z"}),
    ),
    "key_id": (("practices.api_key", {"scopes": "{patients:read}", "addresses": "{}"}),),
    "entry_id": (("practices.admin_entry", {"expires_at": "2100-01-01T00:00:00Z"}),),
    "patient_id": (("patients.patient", {}),),
    "tag_id": (("patients.tag", {}),),
    "note_id": (("patients.note", {}),),
    "filter_id": (("patients.patient_filter", _SHARED),),
    "saved_filter": (("patients.patient_filter", {**_SHARED, "key": "applied"}), ("workflows.patient_filter", _SHARED)),
    "appointment_id": (
        ("scheduling.appointment", {"status": "booked", "source": "local", "ends_at": "2100-01-01T00:00:00Z", "time_zone": "UTC"}),
    ),
    "call_id": (("scheduling.call", {"direction": "inbound", "status": "ended"}),),
    "delivery_id": (("scheduling.webhook_delivery", {"state": "exhausted"}),),
    "workflow_id": (
        ("workflows.workflow", {"draft": json.dumps(_DEFINITION)}),
        ("workflows.workflow_version", {"workflow_id": "{id}", "definition": json.dumps(_DEFINITION)}),
    ),
    "backtest_id": (("workflows.backtest", {"status": "queued"}),),
    "run_id": (
        ("workflows.run", {"status": "running"}),
        ("workflows.step", {"run_id": "{id}", "step_id": "intake", "kind": "action", "status": "succeeded"}),
    ),
    "job_id": (("workflows.job", {"kind": "runs", "status": "running", "wish": "{}"}),),
    "message_id": (("notifications.message", {"effect_key": "{id}"}), ("notifications.effect", {"effect_key": "{id}", "state": "planned"})),
    "task_id": (("notifications.task", {}),),
    "event_id": (("audit.entry", {"event_id": "{id}", "entry": b"{}", "leaf": b"x" * 32}),),
}
"""For each id in a path or query: the rows that make it exist. ``{id}`` is the id; everything else is made up."""

BODIES: dict[str, dict[str, Any]] = {
    "PATCH /v1/users/{user_id}": {"role": "regular_user"},
    "POST /v1/api-keys/{key_id}/rotate": {},
    "PUT /v1/me/practice": {"practice_id": "{practice_id}"},
    "PATCH /v1/practices/{practice_id}": {"name": "Renamed"},
    "POST /v1/practices/{practice_id}/invitations": {"name": "Ada", "email": "ada@practice.example"},
    "POST /v1/practices/{practice_id}/suspend": {"reason": "none"},
    "POST /v1/practices/{practice_id}/entries": {"reason": "a support case of theirs"},
    "POST /v1/appointments": {**EXAMPLES["POST /v1/appointments"], "patient_id": "{patient_id}"},
    "PATCH /v1/patients/{patient_id}": {"family_name": "Holm"},
    "POST /v1/patients/{patient_id}/tags": {"tag": "Recall"},
    "POST /v1/patients/{patient_id}/notes": {"text": "Was called."},
    "PATCH /v1/patient-filters/{filter_id}": {"name": "Renamed"},
    "POST /v1/appointments/{appointment_id}/reschedule": {"starts_at": "2030-01-01T09:00:00Z", "ends_at": "2030-01-01T10:00:00Z"},
    "POST /v1/appointments/{appointment_id}/cancel": {},
    "POST /v1/tasks": {"title": "Call back", "patient_id": "{patient_id}"},
    "PATCH /v1/tasks/{task_id}": {"title": "Call back"},
    "PUT /v1/workflows/{workflow_id}": {"name": "Renamed", "definition": _DEFINITION},
    "POST /v1/workflows/{workflow_id}/runs": {"patient_id": "{patient_id}"},
    "POST /v1/workflows/{workflow_id}/runs/preview": {"saved_filter": "{saved_filter}"},
    "POST /v1/workflows/{workflow_id}/webhook-secret": {},
    "PUT /v1/workflows/suppressions/{patient_id}": {"reason": "wishes no messages"},
    "POST /v1/runs/{run_id}/rerun": {},
    "POST /v1/runs/{run_id}/steps/{step_id}/resolve": {"outcome": "succeeded"},
    "POST /v1/workflows/{workflow_id}/revert": {"version": 1},
    "POST /v1/workflows/{workflow_id}/dry-run": {},
    "POST /v1/workflows/{workflow_id}/backtests": {"days": 1},
}
"""A valid body for each operation that takes an id and a body."""

NAMES = {"version": 1, "step_id": "intake", "gallery_id": "new-patient-welcome"}
"""What else stands in paths: numbers and names that are nobody's."""


@dataclass(frozen=True)
class Operation:
    service: str
    method: str
    path: str
    permission: Permission | None
    ids: tuple[str, ...]
    query_ids: tuple[str, ...]
    body_ids: tuple[str, ...]
    takes_cursor: bool

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def at(self, ids: Mapping[str, object]) -> str:
        """Its address."""
        return self.path.format_map({**NAMES, **ids})


def build(service: str, database_url: str = "postgresql://nobody@127.0.0.1:1/none") -> Service:
    """The service as its process would build it; nothing connects before the first request."""
    settings = importlib.import_module(f"services.{service}.settings").Settings
    values = {
        "http_port": 1, "database_url": database_url, "kafka": "127.0.0.1:1", "tenancy_key": TENANCY_KEY, "secrets_keys": SECRETS_KEYS,
        "cursor_key": CURSOR_KEY,
        "gateway_key": GATEWAY_KEY, "gateway_proof": GATEWAY_PROOF, "issuer": ISSUER, "audience": AUDIENCE, "jwks_url": "http://127.0.0.1:1/", **EXTRA.get(service, {}),
    }  # fmt: skip
    return cast("Service", importlib.import_module(f"services.{service}.app").build(settings(**values)))


@cache
def operations() -> tuple[Operation, ...]:
    """Everything every OpenAPI document offers. Read once: all six services are built for it."""
    return tuple(_operations())


def _operations() -> Iterator[Operation]:
    for service in SERVICES:
        document = build(service).app.openapi()
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                parameters = operation.get("parameters", [])
                ids = [(p["in"], p["name"]) for p in parameters if _is_id(p["schema"])]
                in_path, in_query = (tuple(name for where, name in ids if where == place) for place in ("path", "query"))
                permission = Permission(operation["x-permission"]) if "x-permission" in operation else None
                cursor = any(p["name"] == "cursor" for p in parameters)
                yield Operation(service, method.upper(), path, permission, in_path, in_query, _body_ids(operation, document), cursor)


def _body_ids(operation: dict[str, Any], document: dict[str, Any]) -> tuple[str, ...]:
    """Ids at the top of a request body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    schema = document["components"]["schemas"].get(content.get("$ref", "").rpartition("/")[2], {})
    return tuple(name for name, field in schema.get("properties", {}).items() if _is_id(field))


def _is_id(schema: dict[str, Any]) -> bool:
    return any(option.get("format") == "uuid" for option in schema.get("anyOf", [schema]))


def plant(connection: psycopg.Connection[tuple[Any, ...]], name: str, practice: UUID) -> UUID:
    """Make the thing an id names exist in a practice, whatever else would have to exist beside it."""
    thing = uuid4()
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        for table, values in THINGS[name]:
            given = {"practice_id": practice, "id": thing, **{key: thing if value == "{id}" else value for key, value in values.items()}}
            _insert(connection, table, given)
    return thing


_COLUMNS = """
SELECT column_name, data_type FROM information_schema.columns
WHERE table_schema = split_part(%s, '.', 1) AND table_name = split_part(%s, '.', 2) AND is_generated = 'NEVER' AND is_identity = 'NO'
  AND (is_nullable = 'NO' AND column_default IS NULL OR column_name = ANY (%s))
"""
_known_columns: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
"""By table and what is given. The catalogue is slow to ask, and every database of a run is a copy of one."""

_KNOW_PRACTICE: LiteralString = "INSERT INTO {}.access_practice VALUES (%s, false, '{{}}', 0) ON CONFLICT DO NOTHING"
_KNOW_MEMBER: LiteralString = "INSERT INTO {}.access_member VALUES (%s, %s, %s, %s, true, 1)"
_KNOW_ENTRY: LiteralString = "INSERT INTO {}.access_entry VALUES (%s, gen_random_uuid(), %s, now() + interval '1 hour', 1)"


class Callers:
    """Headers of whoever may stand before a door. What a service must know of them is written straight into its projection."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]], token: Token) -> None:
        self._connection = connection
        self._token = token

    def _know(self, service: str, statement: LiteralString, *values: object) -> None:
        text = psycopg.sql.SQL(statement).format(psycopg.sql.Identifier(service))
        self._connection.execute(text, values)

    def person(self, service: str, role: Role, practice: UUID) -> Headers:
        """Somebody of the practice; a Vantage admin for the platform's id."""
        identity = str(uuid4())
        self._know(service, _KNOW_PRACTICE, practice)
        self._know(service, _KNOW_MEMBER, practice, identity, uuid4(), role)
        return {"Authorization": f"Bearer {self._token(None if practice == PLATFORM else practice, subject=identity)}"}

    def entered(self, service: str, practice: UUID) -> Headers:
        """A Vantage admin inside the practice."""
        identity = str(uuid4())
        self._know(service, _KNOW_PRACTICE, practice)
        self._know(service, _KNOW_MEMBER, PLATFORM, identity, uuid4(), Role.VANTAGE_ADMIN)
        self._know(service, _KNOW_ENTRY, practice, identity)
        return {"Authorization": f"Bearer {self._token(None, subject=identity)}", "Vantage-Practice": str(practice)}

    def key(self, service: str, practice: UUID, scopes: Iterable[Permission]) -> Headers:
        """An API key's request as the gateway passes it on."""
        self._know(service, _KNOW_PRACTICE, practice)
        claims = {"sub": str(uuid4()), "practice_id": str(practice), "scopes": [str(scope) for scope in scopes]}
        return {"Authorization": f"Bearer {house_token(bytes.fromhex(GATEWAY_KEY), claims)}"}


_MADE_UP: dict[str, LiteralString] = {
    "uuid": "gen_random_uuid()", "text": "'x'", "integer": "1", "bigint": "1", "boolean": "false", "jsonb": "'{}'", "bytea": "''",
    "timestamp with time zone": "now()", "date": "current_date", "ARRAY": "'{}'",
}  # fmt: skip


def _insert(connection: psycopg.Connection[tuple[Any, ...]], table: str, given: dict[str, object]) -> None:
    columns = _known_columns.get((table, *given))
    if columns is None:
        columns = _known_columns[table, *given] = connection.execute(_COLUMNS, [table, table, list(given)]).fetchall()
    names = psycopg.sql.SQL(", ").join(psycopg.sql.Identifier(name) for name, _ in columns)
    values = psycopg.sql.SQL(", ").join(
        psycopg.sql.Literal(given[name]) if name in given else psycopg.sql.SQL(_MADE_UP[kind]) for name, kind in columns
    )
    target = psycopg.sql.Identifier(*table.split("."))
    connection.execute(psycopg.sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(target, names, values))
