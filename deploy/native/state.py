"""What one checkout's system is: its directory, its ports, its secrets. Chosen once, kept in ``.vantage/``."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.native.auth import new_auth_secrets
from libs.contracts.topics import SERVICES

LOOPBACK = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[2]
PORTS = (
    "postgres", "kafka", "kafka_controller", "connect", "gateway", "gateway_tls", "gateway_admin", *SERVICES, "sendgrid", "calcom", "retell", "auth",
    "temporal", "temporal_ui",
)  # fmt: skip
ENGINES = ("builtin", "temporal")
HEX_KEYS = ("gateway_key", "gateway_proof", "tenancy_key", "cursor_key", "ledger_signing_key")
KEY_LISTS = ("secrets_keys",)
"""Lists of keys by id, so that they can be rotated: ``id:key[,id:key…]``, the first is current."""

AUTH_SECRETS = ("auth_jwt_keys", "auth_service_key", "hook_secrets")
"""What Supabase Auth and we know together: its signing keys, the service role's token, the secret of its hooks."""

KEYS = (*HEX_KEYS, *KEY_LISTS, *AUTH_SECRETS)
ROLES = (
    "postgres",
    "debezium",
    "auditor",
    "supabase_auth_admin",
    *(f"{service}_{kind}" for service in SERVICES for kind in ("owner", "app")),
)


@dataclass(frozen=True)
class State:
    """``directory`` holds everything; nothing outside it is written.

    ``hosts`` and ``bind`` differ from the loopback only between containers (deploy/compose). ``engine``: what new runs of
    workflows begin on.
    """

    directory: Path
    ports: dict[str, int]
    secrets: dict[str, str]
    kafka_cluster_id: str
    hosts: Mapping[str, str] = field(default_factory=dict)
    bind: str = LOOPBACK
    engine: str = "builtin"

    @property
    def config(self) -> Path:
        return self.directory / "etc"

    @property
    def logs(self) -> Path:
        return self.directory / "log"

    @property
    def temporal_file(self) -> Path:
        """What Temporal keeps."""
        return self.directory / "temporal" / "temporal.db"

    @property
    def has_temporal(self) -> bool:
        """Whether Temporal is part of the system: runs that began there finish there, whatever new ones begin on."""
        return self.engine == "temporal" or self.temporal_file.exists()

    def url(self, role: str, database: str = "vantage") -> str:
        """``postgresql://`` URL of a role."""
        return f"postgresql://{role}:{self.secrets[role]}@{self.address('postgres')}/{database}"

    @property
    def gateway(self) -> str:
        return self.http("gateway")

    def http(self, name: str) -> str:
        return f"http://{self.address(name)}"

    def host(self, name: str) -> str:
        """Where the others reach it."""
        return self.hosts.get(name, LOOPBACK)

    def address(self, name: str) -> str:
        """``host:port``."""
        return f"{self.host(name)}:{self.ports[name]}"


def load(directory: Path, engine: str = "builtin") -> State:
    """The state of a directory, made on first use. Raises ``ValueError`` for an engine nobody knows."""
    if engine not in ENGINES:
        raise ValueError(f"the workflow engine is {' or '.join(ENGINES)}, not {engine}")
    directory.mkdir(parents=True, exist_ok=True)
    ports = _ports(directory / "ports.json")
    keys = _secrets(directory / "secrets.json")
    cluster = _kept(directory / "kafka.json", lambda: {"cluster_id": new_cluster_id()})
    return State(directory, ports, keys, cluster["cluster_id"], engine=engine)


def _ports(path: Path) -> dict[str, int]:
    """The ports as they are kept; what an older version did not know is added."""
    kept: dict[str, int] = _kept(path, lambda: dict(zip(PORTS, _free_ports(len(PORTS)), strict=True)))
    missing = [name for name in PORTS if name not in kept]
    if missing:
        kept |= dict(zip(missing, _free_ports(len(missing)), strict=True))
        _replace(path, kept)
    return kept


def _replace(path: Path, value: Any, mode: int = 0o644) -> None:
    fresh = path.with_suffix(".new")
    fresh.touch(mode=mode)
    fresh.write_text(json.dumps(value, indent=2))
    fresh.replace(path)


def _kept(path: Path, make: Callable[[], Any], mode: int = 0o644) -> Any:
    if not path.exists():
        path.touch(mode=mode)
        path.write_text(json.dumps(make(), indent=2))
    return json.loads(path.read_text())


def _secrets(path: Path) -> dict[str, str]:
    """The secrets as they are kept; what an older version did not know is added."""
    kept: dict[str, str] = _kept(path, new_secrets, mode=0o600)
    complete = new_secrets() | kept
    if not set(AUTH_SECRETS) <= kept.keys():  # they belong together
        complete |= new_auth_secrets()
    if "secrets_key" in kept:  # from before keys had ids: it goes on as the first of the list
        complete["secrets_keys"] = f"first:{complete.pop('secrets_key')}"
    if complete != kept:
        _replace(path, complete, 0o600)
    return complete


def new_secrets() -> dict[str, str]:
    """A password per role (safe in URLs) and the keys, 32 bytes in hex each."""
    passwords = {role: secrets.token_urlsafe(24) for role in ROLES}
    keys = {name: secrets.token_hex(32) for name in HEX_KEYS}
    return passwords | keys | new_auth_secrets() | {name: f"first:{secrets.token_hex(32)}" for name in KEY_LISTS}


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on right now, below the range the kernel hands out to outgoing connections."""
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            port = 20_000 + secrets.randbelow(10_000)
            probe = stack.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found


def new_cluster_id() -> str:
    """A Kafka cluster id: 16 random bytes, URL-safe base64, not beginning with a hyphen."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
