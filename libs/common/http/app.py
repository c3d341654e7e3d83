"""The FastAPI application every service has: same errors, same health, same surroundings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from libs.common.access import Access
from libs.common.errors import Trouble
from libs.common.http.door import AlreadyAnswered, record_denied
from libs.common.http.middleware import Surroundings
from libs.common.http.problems import on_http_error, on_invalid_input, on_trouble
from libs.common.paging import Cursors
from libs.common.secrets import SecretBox
from libs.common.tokens import TokenVerifier
from libs.common.work import Work

Checks = Callable[[], Awaitable[dict[str, str]]]


@dataclass(frozen=True)
class Doorkeepers:
    """What every door of a service needs: who somebody is, whether they may in, and the keys of what it hands out."""

    verifier: TokenVerifier
    access: Access
    cursors: Cursors
    box: SecretBox
    gateway_proof: str


def make_app(service: str, *, work: Work, keepers: Doorkeepers, checks: Checks) -> FastAPI:
    """``checks`` answers name -> ``ok`` or what is wrong; ready means all are ok."""
    app = FastAPI(
        title=f"Vantage {service}",
        version="1",
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.work = work
    app.state.verifier = keepers.verifier
    app.state.access = keepers.access
    app.state.cursors = keepers.cursors
    app.state.box = keepers.box
    app.add_exception_handler(Trouble, _on_trouble)
    app.add_exception_handler(RequestValidationError, on_invalid_input)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(AlreadyAnswered, _replay)
    app.add_middleware(Surroundings, proof=keepers.gateway_proof)
    _health(app, checks)
    return app


async def _on_trouble(request: Request, trouble: Exception) -> Response:
    assert isinstance(trouble, Trouble)
    await record_denied(request, trouble)
    return await on_trouble(request, trouble)


async def _replay(_: Request, answer: Exception) -> Response:
    assert isinstance(answer, AlreadyAnswered)
    return answer.response


def _health(app: FastAPI, checks: Checks) -> None:
    @app.get("/livez", include_in_schema=False)
    async def livez() -> dict[str, Any]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        """The process can do its work: database reached, partitions assigned (or it says `rebalancing`)."""
        found = await checks()
        ready = all(state == "ok" for state in found.values())
        body = orjson.dumps({"status": "ok" if ready else "not ready", "checks": found})
        return Response(body, 200 if ready else 503, media_type="application/json")

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
