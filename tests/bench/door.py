"""What the door costs: the same read bare, from the service itself, and through the gateway, in turns in one run."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

import aiohttp

from deploy.demo.journey import Practice
from deploy.native.state import ROOT
from libs.common.clock import monotonic
from libs.testing.probe import until
from libs.testing.stack import Stack
from tests.bench.figures import percentile

ROUNDS = 40
EACH = 50


def door_cost(system: Stack, practice: Practice) -> None:
    """One caller on a kept connection; rounds alternate, so that all three see the same machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {**os.environ, "BARE_DATABASE_URL": system.state.url("postgres"), "BARE_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.bare"], env=settings, cwd=ROOT)
    try:
        until(lambda: _listens(port), what="the bare handler")
        found = asyncio.run(_measure(system, practice, f"http://127.0.0.1:{port}"))
    finally:
        process.kill()
        process.wait()
    bare = percentile(found["bare handler"], 0.5)
    for name, milliseconds in found.items():
        p50, p99 = percentile(milliseconds, 0.5), percentile(milliseconds, 0.99)
        print(f"| read, {name} | {len(milliseconds)} in turns | {p50:.2f} | {p99:.2f} | {p50 / bare:.2f}× |")


async def _measure(system: Stack, practice: Practice, bare: str) -> dict[str, list[float]]:
    path = f"/v1/practices/{practice.id}"
    token = {"Authorization": f"Bearer {practice.admin}"}
    doors = {
        "bare handler": (bare, {}),
        "service: token, tenancy, row security": (system.state.http("practices"), token),
        "gateway and service": (system.state.gateway, token),
    }
    found: dict[str, list[float]] = {name: [] for name in doors}
    async with aiohttp.ClientSession() as session:
        for number in range(ROUNDS + 2):
            for name, (url, headers) in doors.items():
                for _ in range(EACH):
                    started = monotonic()
                    async with session.get(url + path, headers=headers) as answer:
                        await answer.read()
                        assert answer.status == 200, await answer.text()
                    if number >= 2:  # the first rounds warm up
                        found[name].append((monotonic() - started) * 1000)
    return found


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
