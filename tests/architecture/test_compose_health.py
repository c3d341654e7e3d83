"""The health checks of docker-compose.yml ask the real programs, and tell a live one from a dead one.

The commands are taken from the file; only the port is another one, so that nothing fixed is occupied.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.native import gateway, state
from libs.testing.probe import until
from tests.architecture.test_compose import faulty, put

ROOT = Path(__file__).resolve().parents[2]
CONTAINERS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def healthy(name: str, inside: int, port: int, containers: dict[str, dict[str, Any]] = CONTAINERS) -> bool:
    """The container's health check, asking ``port`` instead of the one that it has inside the container."""
    kind, *command = containers[name]["healthcheck"]["test"]
    assert kind == "CMD"
    assert any(str(inside) in word for word in command)
    words = [sys.executable if word == "python" else word.replace(str(inside), str(port)) for word in command]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def told(tmp_path: Path) -> state.State:
    return state.load(tmp_path)


def test_the_gateways_tells_a_live_envoy_from_a_dead_one(told: state.State) -> None:
    port = told.ports["gateway_admin"]
    assert not healthy("gateway", 9901, port)
    with running(gateway.command(gateway.prepare(told))):
        assert until(lambda: healthy("gateway", 9901, port), what="the gateway being healthy")
    assert not healthy("gateway", 9901, port)


def test_the_probe_would_notice_a_question_that_envoy_refuses(told: state.State) -> None:
    """Envoy answers 426 to HTTP/1.0: the first version of the check asked that way and was never satisfied."""
    asked = [word.replace("HTTP/1.1", "HTTP/1.0") for word in CONTAINERS["gateway"]["healthcheck"]["test"]]
    document = faulty({"services": CONTAINERS}, put("gateway", "healthcheck", {"test": asked}))
    port = told.ports["gateway_admin"]
    with running(gateway.command(gateway.prepare(told))):
        until(lambda: healthy("gateway", 9901, port), what="the gateway being healthy")
        assert not healthy("gateway", 9901, port, document["services"])


def test_a_simulators_tells_a_live_one_from_a_dead_one(told: state.State) -> None:
    port = told.ports["calcom"]
    module, *arguments = CONTAINERS["calcom"]["command"]
    words = [str(port) if word == "8000" else str(told.directory / "calcom") if word == "/state" else word for word in arguments]
    words = ["127.0.0.1" if word == "0.0.0.0" else word for word in words]
    with running([sys.executable, "-m", module, *words]):
        assert until(lambda: healthy("calcom", 8000, port), what="the simulator being healthy")
    assert not healthy("calcom", 8000, port)
