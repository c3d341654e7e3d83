"""Kafka Connect with Debezium: its configuration, the command that runs it, and its REST door."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from deploy.native.artifacts import java_command
from deploy.native.kafka import LOG4J
from deploy.render import render, write
from libs.common.clock import monotonic


class ConnectFailed(RuntimeError):
    """Connect refused or did not come up; the text says what it said."""


class Connect:
    def __init__(self, directory: Path, cache: Path, *, port: int, kafka_port: int) -> None:
        self.directory = directory
        self._cache = cache
        self.port = port
        self._kafka_port = kafka_port

    def prepare(self) -> None:
        values = {
            "KAFKA_HOST": "127.0.0.1", "KAFKA_PORT": str(self._kafka_port), "CONNECT_HOST": "127.0.0.1", "CONNECT_BIND": "127.0.0.1",
            "CONNECT_PORT": str(self.port),
        }  # fmt: skip
        write("debezium/connect.properties", values, self.directory / "connect.properties")

    def command(self) -> list[str]:
        """Run with the environment variable ``DBZ_PASSWORD``."""
        archive = self._cache / "cds" / "connect.jsa"
        properties = [str(self.directory / "connect.properties")]
        return java_command(self._cache, "org.apache.kafka.connect.cli.ConnectDistributed", properties, log4j=LOG4J, archive=archive)


def connector_config(system_identifier: str, postgres_host: str, postgres_port: int) -> dict[str, str]:
    """The one connector. Its topic prefix names the Postgres cluster: another cluster never meets old offsets."""
    values = {"POSTGRES_HOST": postgres_host, "POSTGRES_PORT": str(postgres_port), "SYSTEM_IDENTIFIER": system_identifier}
    config: dict[str, str] = json.loads(render("debezium/outbox.json", values))
    return config


def connector_name(system_identifier: str) -> str:
    return f"outbox-{system_identifier}"


class ConnectClient:
    """Talks to one Connect, after making sure that it belongs to our Kafka cluster."""

    def __init__(self, url: str, cluster_id: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=10.0, trust_env=False)
        self._cluster_id = cluster_id

    def close(self) -> None:
        self._client.close()

    def until_ready(self, within: float = 90.0) -> None:
        """Wait for ``/health``; refuse a Connect of another cluster. Raises ``ConnectFailed``."""
        deadline = monotonic() + within
        while not self._healthy():
            if monotonic() > deadline:
                raise ConnectFailed("Kafka Connect did not become healthy")
            time.sleep(0.1)
        found = self._client.get("/").json().get("kafka_cluster_id")
        if found != self._cluster_id:
            raise ConnectFailed("the Kafka Connect on this port belongs to another installation; nothing was touched")

    def _healthy(self) -> bool:
        try:
            return self._client.get("/health").status_code == 200
        except httpx.HTTPError:
            return False

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One call; a 409 means that Connect rebalances, and is tried again. Raises ``ConnectFailed``."""
        deadline = monotonic() + 30
        while True:
            answer = self._client.request(method, path, json=body)
            if answer.status_code != 409 or monotonic() > deadline:
                break
            time.sleep(0.2)
        if answer.status_code >= 400:
            raise ConnectFailed(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json() if answer.content else None

    def connectors(self) -> list[str]:
        names: list[str] = self.call("GET", "/connectors")
        return names

    def apply(self, name: str, config: dict[str, str]) -> None:
        """Create or change the connector, remove others of ours, wait until its task runs."""
        for other in self.connectors():
            if other != name and other.startswith("outbox-"):
                self.call("DELETE", f"/connectors/{quote(other)}")
        if self.config(name) != config:
            self.call("PUT", f"/connectors/{quote(name)}/config", config)
        self.until_running(name)

    def config(self, name: str) -> dict[str, str] | None:
        """What is configured, without Connect's own ``name``; None when there is no such connector."""
        if name not in self.connectors():
            return None
        found: dict[str, str] = self.call("GET", f"/connectors/{quote(name)}/config")
        found.pop("name", None)
        return found

    def until_running(self, name: str, within: float = 60.0) -> None:
        deadline = monotonic() + within
        while not self.running(name):
            if monotonic() > deadline:
                raise ConnectFailed(f"connector {name} does not run")
            time.sleep(0.1)

    def running(self, name: str) -> bool:
        try:
            status = self.call("GET", f"/connectors/{quote(name)}/status")
        except ConnectFailed:
            return False
        return bool(status["tasks"]) and all(task["state"] == "RUNNING" for task in status["tasks"])

    def stored_lsn(self, name: str) -> int | None:
        """The WAL position Connect believes it has read up to; None when it has none."""
        offsets = self.call("GET", f"/connectors/{quote(name)}/offsets")["offsets"]
        found = [entry["offset"].get("lsn") for entry in offsets if entry.get("offset")]
        return max((int(lsn) for lsn in found if lsn is not None), default=None)

    def forget_offsets(self, name: str) -> None:
        """Stop the connector, drop its offsets, go on from the slot."""
        self.call("PUT", f"/connectors/{quote(name)}/stop")
        deadline = monotonic() + 30
        while self.call("GET", f"/connectors/{quote(name)}/status")["connector"]["state"] != "STOPPED":
            if monotonic() > deadline:
                raise ConnectFailed(f"connector {name} does not stop")
            time.sleep(0.1)
        self.call("DELETE", f"/connectors/{quote(name)}/offsets")
        self.call("PUT", f"/connectors/{quote(name)}/resume")
        self.until_running(name)

    def restart_failed(self, name: str) -> None:
        self.call("POST", f"/connectors/{quote(name)}/restart?includeTasks=true&onlyFailed=true")
