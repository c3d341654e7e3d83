"""What every simulator has: planned faults, a durable record, a control door, and a main.

``POST /_control/faults`` takes ``{"kind": "status"|"late"|"hang"|"lose"|"mute"|"delay", "times": n, "status": 503, "seconds": 1,
"retry_after"?: 1, "only"?: "POST /v2/bookings", "every"?: 5}``. ``lose`` lets the request take effect and then cuts the connection,
``late`` then answers ``status``, ``mute`` says nothing at all: the caller cannot know. ``only``: requests that begin like this, all
others pass; ``every``: so many of those for each fault, which is the last of them. ``DELETE`` forgets what is planned.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Record:
    """What was accepted, one JSON object a line; on disk before it is answered, so a killed simulator forgets nothing."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        self._path = path
        self._file = path.open("a", buffering=1)

    def add(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self.lines.append(line)

    def clear(self) -> None:
        self._file.truncate(0)
        self.lines.clear()


@dataclass(frozen=True)
class Fault:
    """``kind`` empty: none, this request passes."""

    kind: str
    status: int = 503
    seconds: float = 1.0
    retry_after: int | None = None
    only: str = ""

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = None if self.retry_after is None else {"retry-after": str(self.retry_after)}
        await JSONResponse({"errors": [{"message": "simulated fault"}]}, self.status, headers)(scope, receive, send)


class Faults:
    """Faults for the next requests to the provider's own paths, in order."""

    def __init__(self) -> None:
        self.planned: deque[Fault] = deque()

    def plan(self, body: dict[str, Any]) -> None:
        if body["kind"] not in {"status", "late", "hang", "lose", "mute", "delay"}:
            message = f"unknown fault {body['kind']!r}"
            raise ValueError(message)
        after = None if body.get("retry_after") is None else int(body["retry_after"])
        fault = Fault(body["kind"], int(body.get("status", 503)), float(body.get("seconds", 1.0)), after, str(body.get("only", "")))
        passing = [Fault("", only=fault.only)] * (int(body.get("every", 1)) - 1)
        self.planned.extend([*passing, fault] * int(body.get("times", 1)))

    def next_for(self, request: str) -> Fault | None:
        """What happens to this request (``POST /path``), None for nothing."""
        if not self.planned or not request.startswith(self.planned[0].only):
            return None
        fault = self.planned.popleft()
        return fault if fault.kind else None


class Faulty:
    """The ASGI layer that makes faults happen."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_control") or scope["path"] == "/":
            await self._app(scope, receive, send)
            return
        fault = self._faults.next_for(f"{scope['method']} {scope['path']}")
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.kind == "status":
            await fault.answer(scope, receive, send)
        elif fault.kind == "late":
            await self._app(scope, receive, _into_the_void)
            await fault.answer(scope, receive, send)
        elif fault.kind == "hang":
            await asyncio.sleep(3600)
        elif fault.kind == "mute":
            await self._app(scope, receive, _into_the_void)
            await asyncio.sleep(3600)
        elif fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, _into_the_void)
            # uvicorn's send is a method of the request cycle, which knows the connection.
            send.__self__.transport.abort()  # type: ignore[attr-defined]


async def _into_the_void(_: Message) -> None:
    """The answer nobody gets."""


def simulator(routes: list[Route], record: Record, faults: Faults, page: Callable[[Request], Response]) -> ASGIApp:
    """An ASGI app with the provider's routes and the control door."""

    async def accepted(_: Request) -> Response:
        return JSONResponse(record.lines)

    async def plan(request: Request) -> Response:
        try:
            faults.plan(await request.json())
        except (ValueError, KeyError, TypeError) as error:
            return JSONResponse({"error": str(error)}, 422)
        return JSONResponse({"planned": len(faults.planned)})

    async def forget(_: Request) -> Response:
        faults.planned.clear()
        return JSONResponse({"planned": 0})

    async def clear(_: Request) -> Response:
        faults.planned.clear()
        record.clear()
        return JSONResponse({})

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def show(request: Request) -> Response:
        return page(request)

    control = [
        Route("/_control/accepted", accepted), Route("/_control/faults", plan, methods=["POST"]),
        Route("/_control/faults", forget, methods=["DELETE"]),
        Route("/_control/clear", clear, methods=["POST"]), Route("/_control/health", health), Route("/", show),
    ]  # fmt: skip
    return Faulty(Starlette(routes=[*control, *routes]), faults)


def main(build: Callable[[Path], ASGIApp]) -> None:
    """``--port``, ``--state DIR`` and, between containers, ``--host``; runs until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    options.state.mkdir(parents=True, exist_ok=True)
    config = uvicorn.Config(build(options.state), options.host, options.port, log_level="warning", access_log=False, timeout_keep_alive=75)
    uvloop.run(uvicorn.Server(config).serve())
