"""What differs between containers and one machine: host names, fixed ports, where secrets come from.

Everything else (templates, declarations, environment of the services) is the native system's, used as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from deploy.native import gateway
from deploy.native.kafka import LOG4J
from deploy.native.state import KEYS, PORTS, ROLES, State
from deploy.render import write

ANY = "0.0.0.0"
CONFIG = Path("/config")
KAFKA_DATA = "/var/lib/kafka/data"
HTTP_PORT = 8000
FIXED_PORTS = {
    "postgres": 5432,
    "kafka": 9092,
    "kafka_controller": 9093,
    "connect": 8083,
    "gateway": 8080,
    "gateway_tls": 8443,
    "gateway_admin": 9901,
    "temporal": 7233,
    "temporal_ui": 8233,
}
SAME_CONTAINER = {"kafka_controller": "kafka", "gateway_admin": "gateway", "gateway_tls": "gateway", "temporal_ui": "temporal"}
CLUSTER_ID = "VANTAGE_KAFKA_CLUSTER_ID"


class VariableMissing(RuntimeError):
    """A secret this step needs is not in its environment; the text names the variables, never a value."""


def variable(secret: str) -> str:
    """The environment variable of a role's password or of a key."""
    return f"VANTAGE_{secret.upper()}" if secret in KEYS else f"VANTAGE_{secret.upper()}_PASSWORD"


def state(secrets: Mapping[str, str], cluster_id: str) -> State:
    """The system as containers see it: every component under its own name."""
    ports = {name: FIXED_PORTS.get(name, HTTP_PORT) for name in PORTS}
    hosts = {name: SAME_CONTAINER.get(name, name) for name in PORTS}
    return State(CONFIG, ports, dict(secrets), cluster_id, hosts, ANY)


def from_environment(environment: Mapping[str, str], needed: Iterable[str], *, cluster: bool = False) -> State:
    """The state with the secrets a step needs. Raises ``VariableMissing``."""
    names = list(needed)
    variables = [variable(name) for name in names] + [CLUSTER_ID] * cluster
    missing = [name for name in variables if not environment.get(name)]
    if missing:
        raise VariableMissing(f"not set: {', '.join(missing)}")
    return state({name: environment[variable(name)] for name in names}, environment.get(CLUSTER_ID, ""))


def everything() -> tuple[str, ...]:
    """Every secret of an installation."""
    return (*ROLES, *KEYS)


def prepare(told: State, target: Path) -> list[Path]:
    """Write the configuration of Kafka, Connect and the gateway below ``target``. Holds no secret."""
    kafka = {
        "KAFKA_HOST": told.host("kafka"), "KAFKA_BIND": told.bind, "KAFKA_PORT": str(told.ports["kafka"]),
        "KAFKA_CONTROLLER_PORT": str(told.ports["kafka_controller"]), "KAFKA_DATA": KAFKA_DATA,
    }  # fmt: skip
    connect = {
        "KAFKA_HOST": told.host("kafka"), "KAFKA_PORT": str(told.ports["kafka"]), "CONNECT_HOST": told.host("connect"),
        "CONNECT_BIND": told.bind, "CONNECT_PORT": str(told.ports["connect"]),
    }  # fmt: skip
    return [
        write("kafka/server.properties", kafka, target / "server.properties"),
        write("debezium/connect.properties", connect, target / "connect.properties"),
        gateway.prepare(told, target / gateway.FOLDER, CONFIG / gateway.FOLDER),
        Path(shutil.copy(LOG4J, target / LOG4J.name)),
    ]
