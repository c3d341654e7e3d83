"""An app on a port of its own, in this process: how tests stand before a simulator."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """The app's URL. It answers from here on; afterwards its connections are cut and what it was at is called off."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        await server.startup(sockets=[listening])
        await server.on_tick(0)  # the headers of every answer
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            await _leave(server)


async def _leave(server: uvicorn.Server) -> None:
    """At once: uvicorn itself looks only ten times a second whether it shall go, and whether connections have gone."""
    for one in server.servers:
        one.close()
    tasks = list(server.server_state.tasks)
    for task in tasks:
        task.cancel()
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    await asyncio.gather(*tasks, return_exceptions=True)
