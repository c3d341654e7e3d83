"""The bare handler a door's cost is compared with: the same framework, the same query, the same answer, and nothing else.

No token, no tenant context, no row security (it reads as superuser), no telemetry, no gateway.
"""

from __future__ import annotations

import json
import os
from typing import Any
from uuid import UUID

import asyncpg
import uvicorn
import uvloop
from fastapi import FastAPI, Response

_SQL = (
    "SELECT practice_id, name, time_zone, profile, origins, suspended, version, created_at FROM practices.practice WHERE practice_id = $1"
)


def application() -> FastAPI:
    app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})
    pool: list[asyncpg.Pool[Any]] = []

    @app.get("/v1/practices/{practice_id}")
    async def show(practice_id: UUID) -> Response:
        if not pool:
            pool.append(await asyncpg.create_pool(os.environ["BARE_DATABASE_URL"], max_size=8))
        async with pool[0].acquire() as connection, connection.transaction():
            row = await connection.fetchrow(_SQL, practice_id)
        assert row is not None
        body = {**dict(row), "id": row["practice_id"], "profile": json.loads(row["profile"])}
        return Response(json.dumps(body, default=str), media_type="application/json")

    return app


if __name__ == "__main__":
    config = uvicorn.Config(application(), "127.0.0.1", int(os.environ["BARE_PORT"]), log_config=None, access_log=False)
    uvloop.run(uvicorn.Server(config).serve())
