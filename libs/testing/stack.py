"""The real system for tests: brought up in a directory of its own, asked and hurt from outside, taken down at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from deploy.demo.client import Client
from deploy.native import environment, state
from deploy.native.__main__ import DEFAULT, require_parts
from deploy.native.state import ROOT, State
from deploy.native.supervisor import Program, configuration
from deploy.native.system import System
from libs.contracts.topics import SERVICES
from libs.testing.collector import Collector
from libs.testing.probe import until

LEAVING = ("notifications", "scheduling")
"""Services whose actions leave the house. An effect that is unknown and that nobody looks after waits for a person."""


@dataclass(frozen=True)
class Stack:
    """One running system. ``client`` knocks on its doors; the rest is for looking inside and for doing harm."""

    state: State
    system: System
    client: Client
    collector: Collector

    def sql(self, statement: str, *args: object) -> list[tuple[Any, ...]]:
        """As superuser: what no door shows."""
        with psycopg.connect(self.state.url("postgres"), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement, args)
            return cursor.fetchall() if cursor.description else []

    def kill(self, name: str) -> None:
        """``kill -9`` a process of the system."""
        pid = self.system.supervisor.pid(name)
        assert pid > 0, f"{name} is not running"
        os.kill(pid, signal.SIGKILL)

    @contextlib.contextmanager
    def told(self, service: str, **values: str) -> Iterator[None]:
        """A service that is told otherwise meanwhile: started anew before and afterwards."""

        def changed(program: Program) -> Program:
            return dataclasses.replace(program, environment={**program.environment, **values}) if program.name == service else program

        usual = self.system.programs()
        self._supervise([changed(program) for program in usual], service)
        try:
            yield
        finally:
            self._supervise(usual, service)

    def _supervise(self, programs: list[Program], service: str) -> None:
        """Take over what changed about a service's program, and wait until it is ready."""
        directory = self.state.directory
        (directory / "supervisord.conf").write_text(configuration(programs, directory, self.state.logs, ROOT))
        self.system.supervisor.reread()
        self.system.supervisor.start(service)
        until(lambda: _answers(f"{self.state.http(service)}/readyz"), within=60, what=f"{service} ready")

    def command(self, service: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A service's command line, in its environment."""
        settings = {**os.environ, **environment.of_service(service, self.state)}
        command = [sys.executable, "-m", f"services.{service}", *arguments]
        return subprocess.run(command, env=settings, cwd=ROOT, capture_output=True, text=True, check=False)

    def reconcile(self, settle: float = 0.0) -> subprocess.CompletedProcess[str]:
        """Compare outboxes and ledger."""
        return self.command("audit", "reconcile", "--url", self.state.url("auditor"), "--settle", str(settle))

    def drained(self, within: float = 60.0) -> None:
        """Wait until nothing is on its way: every outbox row entered, no effect looked after, nothing due for a redrive."""
        said = " UNION ALL ".join(f"SELECT practice_id, id FROM {service}.outbox" for service in SERVICES)
        entered = "SELECT FROM audit.entry WHERE entry.practice_id = said.practice_id AND entry.event_id = said.id"
        unheard = f"(SELECT count(*) FROM ({said}) said WHERE NOT EXISTS ({entered}))"
        parked = " + ".join(f"(SELECT count(*) FROM {service}.parked_subject WHERE retry_at IS NOT NULL)" for service in SERVICES)
        effects = " + ".join(f"(SELECT count(*) FROM {service}.effect_due)" for service in LEAVING)
        statement = f"SELECT {unheard}, {effects}, {parked}"
        until(lambda: self._try(statement), lambda seen: seen == (0, 0, 0), within=within, what="draining")

    def _try(self, statement: str) -> tuple[Any, ...] | None:
        try:
            return self.sql(statement)[0]
        except psycopg.OperationalError:
            return None


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=3.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@contextlib.contextmanager
def running(*, traces: bool = True, engine: str = "builtin") -> Iterator[Stack]:
    """The whole system in a directory of its own; ``traces`` are collected in memory, new runs begin on ``engine``."""
    require_parts()
    directory = Path(tempfile.mkdtemp(prefix="vantage-stack-"))
    directory.chmod(0o755)
    collector = Collector()
    own = state.load(directory, engine)
    system = System(own, DEFAULT, otlp_endpoint=collector.endpoint if traces else None)
    client = Client(own)
    try:
        system.up()
        yield Stack(own, system, client, collector)
    finally:
        system.down()
        system.connect_client.close()
        client.close()
        collector.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The whole system, once per session, with an in-memory trace collector."""
    with running() as system:
        yield system
