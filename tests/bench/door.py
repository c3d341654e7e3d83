"""``python -m tests.bench.door``: what authentication, row security and the gateway cost a request.

The same row, and the same page of fifty rows, bare, through a door of the house, and through the gateway and that door: in turns, in one run, on a
Postgres with a thousand practices. One caller on kept connections.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import secrets
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import jwt
import psutil
import psycopg

from deploy.native.postgres import PostgresCluster
from deploy.native.state import ROOT
from libs.common.clock import monotonic
from libs.testing.gateway import Behind, gate
from libs.testing.postgres import PASSWORD, TEMPLATE, TestDatabase, _make_template
from libs.testing.probe import until
from tests.bench.figures import percentile

ROUNDS = 60
EACH = 50
PRACTICES = 1000

Figures = dict[tuple[str, str], list[float]]
"""Milliseconds of each request, by what is read and through which door."""

_MEMBERS = """
INSERT INTO practices.member (practice_id, id, name, email, role, status, version, created_at)
SELECT %s, gen_random_uuid(), 'Member ' || n, 'm' || n || '@practice.example', 'regular_user', 'active', 1, now() FROM generate_series(1, 60) n
"""


def main() -> int:
    print(f"{platform.processor() or platform.machine()}, {psutil.cpu_count()} processors, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory(prefix="vantage-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        cluster = PostgresCluster(directory / "postgres")
        cluster.initialise(PASSWORD)
        cluster.start_detached()
        try:
            _make_template("127.0.0.1", cluster.port)
            found = _measured(TestDatabase("127.0.0.1", cluster.port, TEMPLATE), directory)
        finally:
            cluster.stop_detached()
    print("| read | requests | p50 ms | p99 ms | p50 against bare |\n| --- | --- | --- | --- | --- |")
    for (what, door), milliseconds in found.items():
        bare = percentile(found[what, "bare handler"], 0.5)
        p50, p99 = percentile(milliseconds, 0.5), percentile(milliseconds, 0.99)
        print(f"| {what}, {door} | {len(milliseconds)} | {p50:.2f} | {p99:.2f} | {p50 / bare:.2f}× |")
    return 0


def _measured(database: TestDatabase, directory: Path) -> Figures:
    behind = Behind()
    behind.close()
    behind.port = _free_port()
    practice, identity = _fill(database)
    token = behind.token(practice, sub=identity)
    public = jwt.algorithms.ECAlgorithm.to_jwk(behind.key.public_key(), as_dict=True)
    told = {
        **os.environ, "BENCH_APP_URL": database.app("practices"), "BENCH_ROOT_URL": database.url("postgres"),
        "BENCH_JWKS": json.dumps({"keys": [{**public, "kid": "first", "alg": "ES256", "use": "sig"}]}),
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.doors", str(behind.port)], env=told, cwd=ROOT)
    try:
        until(lambda: _listens(behind.port), what="the doors")
        (directory / "gateway").mkdir()
        with gate(directory / "gateway", behind) as entrance:
            return asyncio.run(_knock(f"http://127.0.0.1:{behind.port}", entrance.url, practice, token))
    finally:
        process.kill()
        process.wait()


def _fill(database: TestDatabase) -> tuple[UUID, str]:
    practices = [uuid4() for _ in range(PRACTICES)]
    identity = secrets.token_hex(8)
    with psycopg.connect(database.url("postgres"), autocommit=True) as connection:
        for practice in practices:
            connection.execute(
                "INSERT INTO practices.practice (practice_id, name, time_zone, version, created_at) VALUES (%s, 'x', 'UTC', 1, now())",
                [practice],
            )
            connection.execute("INSERT INTO practices.access_practice VALUES (%s, false, '{}', 1)", [practice])
            connection.execute(
                "INSERT INTO practices.access_member VALUES (%s, %s, gen_random_uuid(), 'regular_user', true, 1)", [practice, identity]
            )
            connection.execute(_MEMBERS, [practice])
        connection.execute("ANALYZE")
    return practices[0], identity


async def _knock(service: str, gateway: str, practice: UUID, token: str) -> Figures:
    proof = {"Authorization": f"Bearer {token}"}
    doors: dict[tuple[str, str], tuple[str, dict[str, str]]] = {}
    for what, path in (("one row", str(practice)), ("a page of fifty rows", f"{practice}/members")):
        doors |= {
            (what, "bare handler"): (f"{service}/bare/{path}", {}),
            (what, "token, tenancy, row security"): (f"{service}/v1/practices/{path}", proof),
            (what, "gateway, token, tenancy, row security"): (f"{gateway}/v1/practices/{path}", proof),
        }
    found: Figures = {name: [] for name in doors}
    async with aiohttp.ClientSession() as session:
        for number in range(ROUNDS + 4):
            for name, (url, headers) in doors.items():
                for _ in range(EACH):
                    started = monotonic()
                    async with session.get(url, headers=headers) as answer:
                        await answer.read()
                        assert answer.status == 200, await answer.text()
                    if number >= 4:  # the first rounds warm up
                        found[name].append((monotonic() - started) * 1000)
    return found


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
