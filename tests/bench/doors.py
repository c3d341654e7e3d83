"""One row and one page behind two doors, in one process: bare, and as every service of the house serves it.

Framework, telemetry, pool, query and answer are the same. The bare door asks for no token, sets no tenant context and
reads as a role that row security does not bind. What differs is what this house adds.
"""

from __future__ import annotations

import os
import sys
from typing import Any
from uuid import UUID

import orjson
import uvicorn
import uvloop
from fastapi import Response
from starlette.requests import Request

from deploy.native.auth import AUDIENCE, ISSUER
from libs.common.access import Access
from libs.common.auth import Permission
from libs.common.db import TenancySigner, make_engine
from libs.common.http import DoorDep, Routes, needs, public
from libs.common.http.app import Doorkeepers, make_app
from libs.common.logging import start_logging
from libs.common.paging import Cursors
from libs.common.secrets import SecretBox
from libs.common.telemetry import start_telemetry
from libs.common.tokens import Issuer, KeySet, TokenVerifier, house_issuer
from libs.common.work import Work
from libs.testing.fixtures import CURSOR_KEY, GATEWAY_KEY, GATEWAY_PROOF, SECRETS_KEYS
from libs.testing.postgres import TENANCY_KEY

SQL = "SELECT practice_id, name, time_zone, profile, version, created_at FROM practices.practice WHERE practice_id = $1"
PAGE_SQL = (
    "SELECT id, name, email, role, status, version, created_at FROM practices.member WHERE practice_id = $1 ORDER BY name, id LIMIT 50"
)


def _view(row: Any) -> dict[str, Any]:
    return dict(row)


def _page(rows: list[Any]) -> dict[str, Any]:
    return {"items": [dict(row) for row in rows], "next_cursor": None}


def routes(bare: Work) -> Routes:
    router = Routes()

    @router.get("/bare/{practice_id}", **public("nothing: that is the point"))
    async def read_bare(practice_id: UUID) -> Response:
        async with bare.engine.connect() as connection:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            await raw.execute("BEGIN")
            row = await raw.fetchrow(SQL, practice_id)
            await raw.execute("COMMIT")
        return Response(orjson.dumps(_view(row), default=str), media_type="application/json")

    @router.get("/bare/{practice_id}/members", **public("nothing: that is the point"))
    async def page_bare(practice_id: UUID) -> Response:
        async with bare.engine.connect() as connection:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            await raw.execute("BEGIN")
            rows = await raw.fetch(PAGE_SQL, practice_id)
            await raw.execute("COMMIT")
        return Response(orjson.dumps(_page(rows), default=str), media_type="application/json")

    @router.get("/v1/practices/{practice_id}", **needs(Permission.PRACTICE_READ))
    async def read(practice_id: UUID, door: DoorDep) -> Response:
        async with door.work() as tx:
            return await door.answer(tx, _view(await tx.row(SQL, practice_id)))

    @router.get("/v1/practices/{practice_id}/members", **needs(Permission.PRACTICE_READ))
    async def page(practice_id: UUID, door: DoorDep) -> Response:
        async with door.work() as tx:
            return await door.answer(tx, _page(await tx.rows(PAGE_SQL, practice_id)))

    @router.get("/.well-known/jwks.json", **public("keys are public"))
    async def jwks(_request: Request) -> Response:
        return Response(os.environ["BENCH_JWKS"], media_type="application/json")

    return router


async def _checks() -> dict[str, str]:
    return {}


def main() -> None:
    port = int(sys.argv[1])
    start_logging("bench", "error")
    start_telemetry("bench", None)
    signer = TenancySigner(TENANCY_KEY)
    work = Work("practices", make_engine(os.environ["BENCH_APP_URL"], application="bench"), signer)
    bare = Work("practices", make_engine(os.environ["BENCH_ROOT_URL"], application="bench"), signer)
    provider = Issuer(ISSUER, AUDIENCE, "ES256", KeySet(f"http://127.0.0.1:{port}/.well-known/jwks.json", "ES256"))
    keepers = Doorkeepers(
        TokenVerifier(provider, house_issuer(bytes.fromhex(GATEWAY_KEY))),
        Access(work),
        Cursors(CURSOR_KEY),
        SecretBox.local(SECRETS_KEYS),
        GATEWAY_PROOF,
    )
    app = make_app("practices", work=work, keepers=keepers, checks=_checks)
    app.include_router(routes(bare))
    uvloop.run(uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_config=None, access_log=False)).serve())


if __name__ == "__main__":
    main()
