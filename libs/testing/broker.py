"""A real Kafka broker per test session: in a container where an engine answers, natively otherwise; the same fixture."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.native.__main__ import DEFAULT, require_parts
from deploy.native.kafka import Broker, until_ready
from deploy.native.postgres import free_port
from deploy.native.state import new_cluster_id
from libs.testing.postgres import container_engine_answers

IMAGE = "apache/kafka:4.3.1"


def _in_container(port: int) -> Iterator[str]:
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - only where an engine is

    listeners = f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://0.0.0.0:9093"
    environment = {
        "KAFKA_NODE_ID": "1", "KAFKA_PROCESS_ROLES": "broker,controller", "KAFKA_LISTENERS": listeners,
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}", "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093", "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0", "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }  # fmt: skip
    container = DockerContainer(IMAGE).with_bind_ports(port, port)
    for name, value in environment.items():
        container = container.with_env(name, value)
    with container:
        yield f"127.0.0.1:{port}"


def _native(port: int) -> Iterator[str]:
    directory = Path(tempfile.mkdtemp(prefix="vantage-broker-"))
    require_parts()
    broker = Broker(directory, DEFAULT, port=port, controller_port=free_port(), cluster_id=new_cluster_id())
    broker.prepare()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(broker.command(), stdout=log, stderr=subprocess.STDOUT)
    try:
        yield broker.bootstrap
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """``host:port`` of a broker of this session's own."""
    port = free_port()
    running = _in_container(port) if container_engine_answers() else _native(port)
    bootstrap = next(running)
    asyncio.run(until_ready(bootstrap))
    yield bootstrap
    next(running, None)
