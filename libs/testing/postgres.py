"""A real Postgres per test run: one cluster shared by all workers, one template with every migration, one database each.

In a container where an engine answers, natively otherwise; the same fixtures. ``fsync`` is off: tests that need
durability (chaos, end to end) use the real system instead.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from deploy.native.postgres import PostgresCluster
from libs.common.migrations import migrate
from libs.contracts.topics import SERVICES

BOOTSTRAP = Path(__file__).resolve().parents[2] / "deploy" / "postgres" / "bootstrap.sql"
TENANCY_KEY = "ab" * 32
PASSWORD = "test"
TEMPLATE = "vantage_template"
IMAGE = "postgres:15.18-bookworm"
_SETTINGS = {
    "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "4GB", "jit": "off", "max_connections": "500",
}  # fmt: skip
"""Nothing is kept for longer than a run: no time is spent on what would survive a crash."""


@dataclass(frozen=True)
class TestDatabase:
    """One database with all six schemas. URLs are ``postgresql://``."""

    __test__ = False

    host: str
    port: int
    name: str

    def url(self, role: str) -> str:
        return f"postgresql://{role}:{PASSWORD}@{self.host}:{self.port}/{self.name}"

    def app(self, service: str) -> str:
        return self.url(f"{service}_app")


def bootstrap(superuser_url: str) -> None:
    """Roles, schemas and tenancy in one database, with test passwords."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute(BOOTSTRAP.read_text())
        for service in SERVICES:
            for role in (f"{service}_owner", f"{service}_app"):
                connection.execute(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
        connection.execute("INSERT INTO tenancy.key VALUES (true, decode(%s, 'hex')) ON CONFLICT DO NOTHING", [TENANCY_KEY])


def _make_template(host: str, port: int) -> None:
    superuser = f"postgresql://postgres:{PASSWORD}@{host}:{port}"
    with psycopg.connect(f"{superuser}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    bootstrap(f"{superuser}/{TEMPLATE}")
    for service in SERVICES:
        migrate(service, f"postgresql://{service}_owner:{PASSWORD}@{host}:{port}/{TEMPLATE}")


def container_engine_answers() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        return subprocess.run([docker, "info"], capture_output=True, timeout=2, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class _Shared:
    """The cluster of this run: the first worker starts it, the last one to leave stops it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._state = directory / "state.json"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[dict[str, object]]:
        with (self._directory / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = json.loads(self._state.read_text()) if self._state.exists() else {}
            yield state
            self._state.write_text(json.dumps(state))

    def enter(self) -> tuple[str, int]:
        with self._locked() as state:
            if not state:
                state.update(_start(self._directory))
                _make_template(str(state["host"]), int(str(state["port"])))
            state["users"] = int(str(state.get("users", 0))) + 1
            return str(state["host"]), int(str(state["port"]))

    def leave(self) -> None:
        with self._locked() as state:
            state["users"] = int(str(state["users"])) - 1
            if state["users"] == 0:
                _stop(self._directory, state)
                state.clear()


def _start(directory: Path) -> dict[str, object]:
    if container_engine_answers():
        from testcontainers.postgres import PostgresContainer  # noqa: PLC0415 - only where an engine is

        container = PostgresContainer(IMAGE, username="postgres", password=PASSWORD, dbname="postgres", driver=None)
        settings = " ".join(f"-c {name}={value}" for name, value in {**_SETTINGS, "wal_level": "logical"}.items())
        container.with_command(f"postgres {settings}").start()
        container_id = container.get_wrapped_container().id
        return {"host": container.get_container_host_ip(), "port": int(container.get_exposed_port(5432)), "container": container_id}
    cluster = PostgresCluster(directory / "cluster", settings=_SETTINGS)
    cluster.initialise(PASSWORD)
    cluster.start_detached()
    return {"host": "127.0.0.1", "port": cluster.port}


def _stop(directory: Path, state: dict[str, object]) -> None:
    if "container" in state:
        subprocess.run(["docker", "rm", "-f", "-v", str(state["container"])], capture_output=True, check=False)
        return
    PostgresCluster(directory / "cluster").stop_detached()
    shutil.rmtree(directory / "cluster", ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[tuple[str, int]]:
    """Host and port of the run's cluster; superuser ``postgres``."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"solo-{os.getpid()}")
    directory = Path(tempfile.gettempdir()) / f"vantage-test-{run[:12]}"
    directory.mkdir(mode=0o755, exist_ok=True)
    shared = _Shared(directory)
    host, port = shared.enter()
    try:
        yield host, port
    finally:
        shared.leave()


@pytest.fixture(scope="session")
def database(postgres_server: tuple[str, int]) -> Iterator[TestDatabase]:
    """A database of this worker's own, with every migration applied; through a pooler where that is asked for."""
    own = _copy_of_template(*postgres_server)
    if "VANTAGE_TEST_POOLED" not in os.environ:
        yield own
        return
    from libs.testing.pooler import pooled  # noqa: PLC0415 - it knows this module

    with pooled(own, ["postgres", *(f"{service}_app" for service in SERVICES)]) as through:
        yield through


@pytest.fixture
def own_database(postgres_server: tuple[str, int]) -> Iterator[TestDatabase]:
    """A database of this test's own: for what counts rows across practices."""
    own = _copy_of_template(*postgres_server)
    yield own
    with psycopg.connect(f"postgresql://postgres:{PASSWORD}@{own.host}:{own.port}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {own.name} WITH (FORCE)")


def _copy_of_template(host: str, port: int) -> TestDatabase:
    name = f"vantage_{secrets.token_hex(4)}"
    with psycopg.connect(f"postgresql://postgres:{PASSWORD}@{host}:{port}/postgres", autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(1)")  # CREATE DATABASE refuses a template in use
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    return TestDatabase(host, port, name)
