"""What is configured and where from, for admins: never a secret, not even its length.

A setting is told as ``set`` or ``default``; its value only when its type is no secret and it is no address with a password.
"""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from fastapi import Request
from pydantic import BaseModel, SecretStr

from libs.common.auth import Permission, Principal
from libs.common.http.door import DoorDep, WorkDep
from libs.common.http.routes import Routes, needs
from libs.common.settings import ServiceSettings
from libs.common.tokens import KeySet, TokenVerifier
from libs.common.work import Work

_SYSTEM = Principal.platform("debug")


class Session(BaseModel):
    """How the caller was understood."""

    kind: str
    id: str
    role: str | None
    practice_id: str | None
    entry_id: str | None
    permissions: list[str]
    through_gateway: bool
    address: str
    correlation_id: str


class TrustedIssuer(BaseModel):
    """An issuer whose tokens count. ``keys``: ids of the published keys known right now."""

    issuer: str
    audience: str
    algorithm: str
    keys: list[str]


class DatabaseConfig(BaseModel):
    """Where the service keeps its data. ``tables_without_row_security`` are the declared global ones."""

    host: str
    database: str
    role: str
    server_version: str
    tls: bool
    pool_size: int
    tables_without_row_security: list[str]


class Setting(BaseModel):
    """One setting. ``value`` is null for a secret."""

    name: str
    source: Literal["environment", "default"]
    secret: bool
    value: str | None


def debug_routes(service: str, settings: ServiceSettings) -> Routes:
    router = Routes(prefix=f"/v1/debug/{service}", tags=["debug"])

    @router.get("/session", response_model=Session, **needs(Permission.DEBUG_READ))
    async def session(request: Request, door: DoorDep) -> Session:
        """How the caller was understood."""
        who, state = door.principal, request.state
        return Session(
            kind=who.kind, id=who.id, role=who.role, practice_id=_text(who.practice_id), entry_id=_text(who.entry_id),
            permissions=sorted(who.permissions), through_gateway=state.through_gateway, address=state.client,
            correlation_id=state.correlation_id,
        )  # fmt: skip

    @router.get("/auth-status", response_model=list[TrustedIssuer], **needs(Permission.DEBUG_READ))
    async def auth_status(request: Request, _door: DoorDep) -> list[TrustedIssuer]:
        """Whose tokens count, and which of their keys are known."""
        verifier: TokenVerifier = request.app.state.verifier
        return [
            TrustedIssuer(
                issuer=issuer.name,
                audience=issuer.audience,
                algorithm=issuer.algorithm,
                keys=issuer.keys.known if isinstance(issuer.keys, KeySet) else [],
            )
            for issuer in verifier.issuers.values()
        ]

    @router.get("/db-config", response_model=DatabaseConfig, **needs(Permission.DEBUG_SYSTEM))
    async def db_config(_door: DoorDep, work: WorkDep) -> DatabaseConfig:
        """Which database, as whom, and what row security leaves open."""
        return await _database(service, settings, work)

    @router.get("/env", response_model=list[Setting], **needs(Permission.DEBUG_SYSTEM))
    async def env(_door: DoorDep) -> list[Setting]:
        """Every setting: from where, and its value unless it is a secret."""
        return [_setting(name, getattr(settings, name), given=name in settings.model_fields_set) for name in type(settings).model_fields]

    return router


async def _database(service: str, settings: ServiceSettings, work: Work) -> DatabaseConfig:
    place = urlsplit(settings.database_url.get_secret_value())
    async with work.batch([], _SYSTEM) as tx:
        row = await tx.row("SELECT current_database(), current_user, current_setting('server_version'), current_setting('ssl') = 'on'")
        assert row is not None
        open_tables = await tx.rows(
            "SELECT relname FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r' AND NOT relrowsecurity ORDER BY 1",
            service,
        )
    return DatabaseConfig(
        host=place.hostname or "",
        database=row[0],
        role=row[1],
        server_version=row[2],
        tls=row[3],
        pool_size=settings.database_pool,
        tables_without_row_security=[table["relname"] for table in open_tables],
    )


def _setting(name: str, value: Any, *, given: bool) -> Setting:
    secret = isinstance(value, SecretStr) or "@" in str(value)
    shown = None if secret or value is None else str(value)
    return Setting(name=f"VANTAGE_{name.upper()}", source="environment" if given else "default", secret=secret, value=shown)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
