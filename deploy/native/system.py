"""The whole system of one checkout: what runs, and in which order it comes up."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg

from deploy.native import environment, gateway, temporal
from deploy.native import kafka as brokers
from deploy.native.backbone import Backbone, Say
from deploy.native.connect import Connect
from deploy.native.kafka import Broker
from deploy.native.postgres import PostgresCluster
from deploy.native.state import ROOT, State
from deploy.native.supervisor import Program, Supervisor, configuration
from libs.common.clock import monotonic
from libs.contracts.topics import SERVICES

SIMULATORS = ("sendgrid", "calcom", "retell", "auth")
MODULES = {"auth": "supabase"}
"""Simulators that are named otherwise than what they stand for."""
BACKBONE = ("postgres", "kafka", "connect")


class NotReady(RuntimeError):
    """Something did not come up in time; the text names it and its log."""


class System(Backbone):
    """``cache`` holds what every state directory of a checkout may share: jars and class data."""

    def __init__(self, state: State, cache: Path, *, otlp_endpoint: str | None = None, say: Say = print) -> None:
        super().__init__(state, say=say)
        self._cache = cache
        self._otlp = otlp_endpoint
        ports = state.ports
        self.supervisor = Supervisor(state.directory)
        self._postgres = PostgresCluster(state.directory / "postgres", port=ports["postgres"])
        self._broker = Broker(
            state.directory / "kafka",
            cache,
            port=ports["kafka"],
            controller_port=ports["kafka_controller"],
            cluster_id=state.kafka_cluster_id,
        )
        self._connect = Connect(state.directory / "connect", cache, port=ports["connect"], kafka_port=ports["kafka"])

    def programs(self) -> list[Program]:
        """Every process, from one list."""
        python = sys.executable
        state = self.state
        found = [
            Program("postgres", self._postgres.foreground(), 10),
            Program("kafka", self._broker.command(), 10, stop_seconds=40),
            Program("connect", self._connect.command(), 20, {"DBZ_PASSWORD": state.secrets["debezium"]}, stop_seconds=40),
            Program("watchdog", [python, "-m", "deploy.native", "--state", str(state.directory), "watch"], 60),
            Program("gateway", gateway.command(state.config / gateway.FOLDER / "boot.yaml"), 50, environment.of_gateway(state)),
        ]
        if state.has_temporal:
            program, file = temporal.place(self._cache), state.temporal_file
            command = temporal.server_command(program, port=state.ports["temporal"], database=file, ui_port=state.ports["temporal_ui"])
            found.append(Program("temporal", command, 30))
        for name in SIMULATORS:
            folder = str(state.directory / name)
            module = f"libs.testing.simulators.{MODULES.get(name, name)}"
            told = environment.of_auth(state) if name == "auth" else {}
            found.append(Program(name, [python, "-m", module, "--port", str(state.ports[name]), "--state", folder], 30, told))
        for service in SERVICES:
            values = environment.of_service(service, state, otlp_endpoint=self._otlp)
            found.append(Program(service, [python, "-m", f"services.{service}", "serve"], 40, values))
        return found

    def prepare(self) -> None:
        """Everything that must be there before a process starts: data directories, configurations."""
        self.state.config.mkdir(parents=True, exist_ok=True)
        self.state.logs.mkdir(parents=True, exist_ok=True)
        for name in SIMULATORS:
            (self.state.directory / name).mkdir(exist_ok=True)
        if os.geteuid() == 0:
            self._let_through(self.state.directory)
        if self.state.has_temporal:
            temporal.server(self._cache)
            self.state.temporal_file.parent.mkdir(exist_ok=True)
        with ThreadPoolExecutor() as pool:
            for step in [pool.submit(self._postgres.initialise, self.state.secrets["postgres"]), pool.submit(self._broker.prepare)]:
                step.result()
        self._connect.prepare()
        gateway.prepare(self.state)
        text = configuration(self.programs(), self.state.directory, self.state.logs, ROOT)
        config = self.state.directory / "supervisord.conf"
        config.touch(mode=0o600)
        config.write_text(text)

    def _let_through(self, directory: Path) -> None:
        """User postgres must be able to reach its data below our directory."""
        directory.chmod(directory.stat().st_mode | 0o011)

    def up(self) -> None:
        """Bring everything up, in order; what runs already is left alone."""
        started = monotonic()
        if self.supervisor.running:
            self._start_all(started)
            return
        self._timed("data directories and configurations", self.prepare)
        self.supervisor.launch()
        self._until(lambda: self.supervisor.running, "supervisord", 15)
        self._start_all(started)

    def _start_all(self, started: float) -> None:
        self.supervisor.start(*BACKBONE, *SIMULATORS)
        self._timed("Postgres", lambda: self._until(self._postgres_answers, "postgres", 120))
        self._timed("roles, schemas, migrations, publication", self.declare_database)
        self._timed("Kafka", lambda: asyncio.run(brokers.until_ready(self._broker.bootstrap)))
        self._timed("topics", self.declare_topics)
        self._timed("Kafka Connect", self.connect_client.until_ready)
        self._timed("connector", self.connector)
        self.supervisor.start(*SERVICES, "gateway", "watchdog", *(["temporal"] if self.state.has_temporal else []))
        self._timed("services and gateway", self._services_ready)
        self._tell_auth()
        self._say(f"ready after {monotonic() - started:.1f} s")

    def _postgres_answers(self) -> bool:
        try:
            psycopg.connect(self.state.url("postgres", "postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _services_ready(self) -> None:
        waiting = {name: f"{self.state.http(name)}/readyz" for name in SERVICES}
        waiting |= {name: f"{self.state.http(name)}/_control/health" for name in SIMULATORS}
        if self.state.has_temporal:
            waiting["temporal"] = f"http://{self.state.host('temporal')}:{self.state.ports['temporal_ui']}/api/v1/cluster-info"
        waiting["gateway"] = f"{self.state.http('gateway_admin')}/ready"
        with httpx.Client(timeout=3.0, trust_env=False) as client:
            for name, url in waiting.items():
                self._until(lambda url=url: _answers(client, url), name, 180)  # type: ignore[misc]

    def _tell_auth(self) -> None:
        """Have the simulator report changes of people, as the trigger of deploy/supabase does where the provider is hosted."""
        hook = {"url": f"{self.state.gateway}/hooks/supabase/user-change", "secret": self.state.secrets["hook_secrets"].removeprefix("v1,")}
        httpx.post(f"{self.state.http('auth')}/_control/user_webhook", json=hook, timeout=5.0).raise_for_status()

    def _timed(self, what: str, step: Callable[[], object]) -> None:
        started = monotonic()
        step()
        self._say(f"  {what}: {monotonic() - started:.1f} s")

    def _until(self, check: Callable[[], bool], name: str, within: float) -> None:
        deadline = monotonic() + within
        while not check():
            if monotonic() > deadline:
                raise NotReady(f"{name} did not become ready; see {self.state.logs / (name + '.log')}")
            time.sleep(0.05)

    def down(self) -> None:
        """Stop everything in reverse order and wait for it; data stays."""
        pid = self.supervisor.shutdown()
        if pid is None:
            self._say("nothing was running")
            return
        self._until(lambda: not _alive(pid), "supervisord", 120)
        self._say("stopped")


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
