"""What can be wrong with docker-compose.yml, said in sentences. Pure: takes the parsed file, changes nothing.

Whether it agrees with the native system is told by ``agreement``; whether it is sound in itself by ``soundness``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema

from deploy.compose import containers
from deploy.native import environment, postgres
from deploy.native.state import KEYS, ROLES
from deploy.native.supervisor import Program
from libs.contracts.topics import SERVICES

Document = dict[str, Any]
STEPS = {
    "prepare": "service_completed_successfully",
    "migrate": "service_completed_successfully",
    "apply": "service_completed_successfully",
}
NO_DOOR = {"watchdog"}
"""Runs, but nobody can ask it anything; the engine restarts it when it dies."""

SCHEMA: dict[str, Any] = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
"""The Compose Specification's own schema, as compose-go 2.16.2 ships it (Apache License 2.0)."""


CONTAINERS_ONLY = {"mail"}
"""Where the real Supabase Auth sends its e-mails; the simulator keeps its own."""


def services(document: Document) -> dict[str, Document]:
    found: dict[str, Document] = document["services"]
    return found


def against_schema(document: Document) -> list[str]:
    """Unknown keys and wrong kinds of values, by the specification."""
    validator = jsonschema.Draft202012Validator(SCHEMA)
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(document)]


def soundness(document: Document) -> list[str]:
    """What the schema does not see: references that lead nowhere, waiting that never ends, open doors, known secrets."""
    found: list[str] = []
    for name, service in services(document).items():
        checks = (_waiting, _volumes, _ports, _image, _health, _secrets)
        found += [f"{name}: {problem}" for check in checks for problem in check(name, service, document)]
    return found + _circles(document)


def _waiting(_: str, service: Document, document: Document) -> Iterator[str]:
    for other, how in service.get("depends_on", {}).items():
        if other not in services(document):
            yield f"waits for {other}, which does not exist"
            continue
        waited = services(document)[other]
        if how["condition"] == "service_healthy" and "healthcheck" not in waited:
            yield f"waits for the health of {other}, which has no health check"
        if how["condition"] == "service_completed_successfully" and waited.get("restart") != "no":
            yield f"waits for the end of {other}, which is restarted for ever"


def _volumes(_: str, service: Document, document: Document) -> Iterator[str]:
    for volume in service.get("volumes", []):
        source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
        if source not in document["volumes"]:
            yield f"volume {source} is not declared"


def _ports(_: str, service: Document, __: Document) -> Iterator[str]:
    for port in service.get("ports", []):
        if not str(port).startswith("127.0.0.1:"):
            yield f"port {port} is not bound to the loopback"


def _image(_: str, service: Document, __: Document) -> Iterator[str]:
    image = service.get("image", "")
    ours = image.startswith("vantage/") and "build" in service
    if not ours and not re.fullmatch(r"[a-z/]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9.]+)?", image):
        yield f"image {image or 'none'} is not pinned"


def _health(name: str, service: Document, __: Document) -> Iterator[str]:
    if name not in STEPS and name not in NO_DOOR and "healthcheck" not in service:
        yield "runs without a health check"


def _secrets(_: str, service: Document, __: Document) -> Iterator[str]:
    for key, value in service.get("environment", {}).items():
        secret = key.endswith("PASSWORD") or key.removeprefix("VANTAGE_").lower() in KEYS or key == containers.CLUSTER_ID
        if secret and not re.fullmatch(r"\$\{VANTAGE_[A-Z_]+:\?\}", str(value)):
            yield f"{key} does not come from the environment"
        if "://" in str(value) and re.search(r"://[^/@:]+:(?!\$\{VANTAGE_[A-Z_]+:\?\}@)[^/@]*@", str(value)):
            yield f"{key} holds a password"


def _circles(document: Document) -> list[str]:
    waiting = {name: set(service.get("depends_on", {})) for name, service in services(document).items()}
    while ready := {name for name, others in waiting.items() if not others & waiting.keys()}:
        waiting = {name: others for name, others in waiting.items() if name not in ready}
    return [f"wait for each other: {', '.join(sorted(waiting))}"] if waiting else []


def agreement(document: Document, programs: list[Program]) -> list[str]:
    """Where the containers and the native system tell different stories."""
    return [*_components(document, programs), *_environments(document), *_server_settings(document), *_order(document)]


def _components(document: Document, programs: list[Program]) -> Iterator[str]:
    native = {program.name: program for program in programs}
    optional = {name for name, service in services(document).items() if service.get("profiles") and name not in native}
    composed = services(document).keys() - STEPS.keys() - optional
    yield from (f"{name} runs natively only" for name in sorted(native.keys() - composed))
    yield from (f"{name} runs in containers only" for name in sorted(composed - native.keys() - CONTAINERS_ONLY))
    for name in sorted(native.keys() & composed):
        container = services(document)[name]
        if container.get("stop_grace_period") != f"{native[name].stop_seconds}s":
            yield f"{name} has {native[name].stop_seconds} s to stop natively, {container.get('stop_grace_period')} in its container"
        command = native[name].command
        if name in SERVICES and container["command"] != list(command)[-2:]:
            yield f"{name} runs {' '.join(command[-2:])} natively, {' '.join(container['command'])} in its container"
        missing = set(native[name].environment) - set(container.get("environment", {}))
        yield from (f"{name} lacks {key}" for key in sorted(missing))


def _environments(document: Document) -> Iterator[str]:
    """The services' environment is the native system's own function, asked with container names and unfilled secrets."""
    told = containers.state({name: f"${{{containers.variable(name)}:?}}" for name in (*ROLES, *KEYS)}, "")
    for service in SERVICES:
        wanted, given = environment.of_service(service, told), services(document).get(service, {}).get("environment", {})
        yield from (f"{service} lacks {key}" for key in sorted(wanted.keys() - given.keys()))
        yield from (f"{service} has {key} beyond the native system" for key in sorted(given.keys() - wanted.keys()))
        for key in sorted(wanted.keys() & given.keys()):
            if given[key] not in {wanted[key], f"${{{key}:-{wanted[key]}}}"}:
                yield f"{service} is told another {key}"
    given = services(document)["migrate"]["environment"]
    yield from (f"migrate lacks {containers.variable(name)}" for name in containers.everything() if containers.variable(name) not in given)


def _server_settings(document: Document) -> Iterator[str]:
    command = services(document)["postgres"]["command"]
    given = dict(word.split("=", 1) for word in command if "=" in word)
    wanted = {key: value for key, value in postgres.DEFAULTS.items() if key != "listen_addresses"}
    for key in sorted(wanted.keys() | given.keys()):
        if wanted.get(key) != given.get(key):
            yield f"postgres: {key} is {wanted.get(key)} natively, {given.get(key)} in its container"


def _order(document: Document) -> Iterator[str]:
    """The native start order, as what must have happened before."""
    before = {name: _everything_before(name, document) for name in services(document)}
    wanted: Mapping[str, set[str]] = {
        "migrate": {"postgres"}, "connect": {"prepare", "kafka"}, "kafka": {"prepare"}, "apply": {"migrate", "kafka", "connect"},
        **{service: {"apply"} for service in SERVICES}, "gateway": {"prepare", *SERVICES}, "watchdog": {"apply"},
    }  # fmt: skip
    for name, needed in wanted.items():
        yield from (f"{name} does not wait for {other}" for other in sorted(needed - before.get(name, set())))


def _everything_before(name: str, document: Document) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for other in services(document).get(waiting.pop(), {}).get("depends_on", {}):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def doors(document: Document, envoy: Document) -> list[str]:
    """Whether the gateway listens where it is published, and asks every service where it listens."""
    found: list[str] = []
    static = envoy["static_resources"]
    listening = {str(listener["address"]["socket_address"]["port_value"]) for listener in static["listeners"]}
    published = {str(port).rsplit(":", 1)[1] for port in services(document)["gateway"]["ports"]}
    if published != listening:
        found.append(f"the gateway listens on {', '.join(sorted(listening))}, published is {', '.join(sorted(published))}")
    for cluster in static["clusters"]:
        address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
        container = services(document).get(address["address"])
        if container is None or address["address"] != cluster["name"]:
            found.append(f"cluster {cluster['name']} asks {address['address']}, which is no such container")
        elif str(address["port_value"]) != _listens(container):
            found.append(f"cluster {cluster['name']} asks port {address['port_value']}, {_listens(container)} is listened on")
    return found


def _listens(container: Document) -> str:
    command, told = container.get("command", []), container.get("environment", {})
    return (
        str(command[command.index("--port") + 1]) if "--port" in command else str(told.get("VANTAGE_HTTP_PORT") or told["GOTRUE_API_PORT"])
    )


def routes(envoy: Document) -> list[tuple[str, str, bool]]:
    """(path, cluster, whether what lies below is meant too), in the gateway's order. What it answers itself is left out."""
    manager = envoy["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    found = []
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        match = route["match"]
        if "route" in route and "prefix" not in match:
            found.append((match.get("path") or match["path_separated_prefix"], route["route"]["cluster"], "path" not in match))
    return found


def led_astray(envoy: Document, paths: Mapping[str, list[str]]) -> list[str]:
    """Public paths of services (by service) that the gateway leads elsewhere or nowhere."""
    table = routes(envoy)
    found = []
    for service, mine in paths.items():
        for path in mine:
            cluster = next((to for prefix, to, below in table if path == prefix or (below and path.startswith(prefix + "/"))), None)
            if cluster != service:
                found.append(f"{path} of {service} is led to {cluster or 'nobody'}")
    return found
