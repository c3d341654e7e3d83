"""docker-compose.yml starts the system that `make up` starts: same parts, settings, topics, connector, doors.

No container engine is needed. Every check is shown to bite by a planted fault.
"""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.compose import containers
from deploy.compose.__main__ import main
from deploy.native import artifacts, gateway, state, topics
from deploy.native.backbone import Backbone
from deploy.native.connect import Connect, connector_config
from deploy.native.kafka import Broker
from deploy.native.supervisor import Program
from deploy.native.system import System
from libs.contracts.topics import TOPICS
from tests.architecture import composition
from tests.architecture.composition import Document
from tests.architecture.doors import operations

ROOT = Path(__file__).resolve().parents[2]
Fault = Callable[[Document], object]


@pytest.fixture(scope="module")
def document() -> Document:
    found: Document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


@pytest.fixture
def native(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    """The native system as it would be built here; nothing is fetched and nothing starts."""
    monkeypatch.setattr(artifacts, "jars", lambda cache: cache)
    monkeypatch.setattr(artifacts, "java", lambda: "java")
    return System(state.load(tmp_path / "state"), tmp_path / "cache")


@pytest.fixture
def programs(native: System) -> list[Program]:
    return native.programs()


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """What the prepare step writes."""
    assert main(["prepare", "--target", str(tmp_path / "config")]) == 0
    return tmp_path / "config"


@pytest.fixture
def envoy(prepared: Path) -> Document:
    return gateway.whole(prepared / "gateway" / "boot.yaml")


def here(prepared: Path) -> Path:
    """What the gateway would start from, its files looked for where they are now."""
    folder = prepared / "gateway"
    for path in folder.glob("*.yaml"):
        path.write_text(path.read_text().replace("/config/gateway", str(folder)))
    return folder / "boot.yaml"


def faulty(document: Document, fault: Fault) -> Document:
    changed = copy.deepcopy(document)
    fault(changed)
    return changed


def put(service: str, key: str, value: Any) -> Fault:
    return lambda document: document["services"][service].__setitem__(key, value)


def say(service: str, variable: str, value: str) -> Fault:
    return lambda document: document["services"][service]["environment"].__setitem__(variable, value)


def drop(service: str, *path: str) -> Fault:
    def fault(document: Document) -> None:
        place = document["services"][service]
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return fault


def swap(service: str, old: str, new: str) -> Fault:
    def fault(document: Document) -> None:
        command = document["services"][service]["command"]
        document["services"][service]["command"] = [new if word == old else word for word in command]

    return fault


UNSOUND: list[tuple[Fault, str]] = [
    (put("gateway", "depends_on", {"nobody": {"condition": "service_started"}}), "gateway: waits for nobody, which does not exist"),
    (drop("postgres", "healthcheck"), "migrate: waits for the health of postgres, which has no health check"),
    (drop("postgres", "healthcheck"), "postgres: runs without a health check"),
    (put("apply", "restart", "always"), "audit: waits for the end of apply, which is restarted for ever"),
    (put("kafka", "volumes", ["elsewhere:/var/lib/kafka/data"]), "kafka: volume elsewhere is not declared"),
    (put("gateway", "ports", ["8080:8080"]), "gateway: port 8080:8080 is not bound to the loopback"),
    (put("postgres", "image", "postgres:latest"), "postgres: image postgres:latest is not pinned"),
    (put("kafka", "image", "apache/kafka"), "kafka: image apache/kafka is not pinned"),
    (say("postgres", "POSTGRES_PASSWORD", "made-up"), "postgres: POSTGRES_PASSWORD does not come from the environment"),
    (say("audit", "VANTAGE_TENANCY_KEY", "${VANTAGE_TENANCY_KEY:-00}"), "audit: VANTAGE_TENANCY_KEY does not come from the environment"),
    (say("patients", "VANTAGE_DATABASE_URL", "postgresql://a:made-up@postgres/b"), "patients: VANTAGE_DATABASE_URL holds a password"),
    (put("prepare", "depends_on", {"kafka": {"condition": "service_healthy"}}), "wait for each other"),
]

DISAGREEING: list[tuple[Fault, str]] = [
    (lambda document: document["services"].pop("watchdog"), "watchdog runs natively only"),
    (lambda document: document["services"].__setitem__("cache", {"image": "a/b:1.0"}), "cache runs in containers only"),
    (put("kafka", "stop_grace_period", "5s"), "kafka has 40 s to stop natively, 5s in its container"),
    (swap("patients", "services.patients", "services.audit"), "patients runs services.patients serve natively, services.audit serve"),
    (drop("connect", "environment", "DBZ_PASSWORD"), "connect lacks DBZ_PASSWORD"),
    (drop("audit", "environment", "VANTAGE_LEDGER_ORIGIN"), "audit lacks VANTAGE_LEDGER_ORIGIN"),
    (say("patients", "VANTAGE_PATIENT_LIMIT", "9"), "patients has VANTAGE_PATIENT_LIMIT beyond the native system"),
    (say("patients", "VANTAGE_KAFKA", "kafka:9999"), "patients is told another VANTAGE_KAFKA"),
    (drop("migrate", "environment", "VANTAGE_TENANCY_KEY"), "migrate lacks VANTAGE_TENANCY_KEY"),
    (swap("postgres", "wal_level=logical", "wal_level=replica"), "postgres: wal_level is logical natively, replica in its container"),
    (swap("postgres", "max_connections=120", "fsync=off"), "postgres: fsync is None natively, off in its container"),
    (drop("apply", "depends_on", "migrate"), "apply does not wait for migrate"),
    (put("practices", "depends_on", {}), "practices does not wait for apply"),
]


class TestTheFile:
    def test_is_what_the_specification_allows(self, document: Document) -> None:
        assert composition.against_schema(document) == []

    @pytest.mark.parametrize("fault", [put("kafka", "imagge", "x"), put("kafka", "restart", 7), put("kafka", "healthcheck", [])])
    def test_an_unknown_key_or_a_wrong_kind_is_seen(self, document: Document, fault: Fault) -> None:
        assert composition.against_schema(faulty(document, fault)) != []

    def test_is_sound(self, document: Document) -> None:
        assert composition.soundness(document) == []

    @pytest.mark.parametrize(("fault", "found"), UNSOUND, ids=[found for _, found in UNSOUND])
    def test_what_the_schema_does_not_see_is_seen(self, document: Document, fault: Fault, found: str) -> None:
        assert any(problem.startswith(found) for problem in composition.soundness(faulty(document, fault)))

    def test_asks_for_every_secret_that_the_command_makes_and_for_no_other(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["secrets"]) == 0
        made = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
        asked = set(re.findall(r"\$\{(VANTAGE_[A-Z_]+):\?\}", (ROOT / "docker-compose.yml").read_text()))
        assert set(made) == asked
        assert len(set(made.values())) == len(made)


class TestTheTwoDescriptions:
    def test_agree(self, document: Document, programs: list[Program]) -> None:
        assert composition.agreement(document, programs) == []

    @pytest.mark.parametrize(("fault", "found"), DISAGREEING, ids=[found for _, found in DISAGREEING])
    def test_a_difference_is_told(self, document: Document, programs: list[Program], fault: Fault, found: str) -> None:
        assert any(problem.startswith(found) for problem in composition.agreement(faulty(document, fault), programs))

    def test_a_new_native_variable_must_reach_the_container(
        self, document: Document, programs: list[Program], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("deploy.native.environment._extras", lambda service, _: {"VANTAGE_NEW": "1"})
        assert "patients lacks VANTAGE_NEW" in composition.agreement(document, programs)

    def test_agree_on_temporal_too_where_it_is_chosen(self, document: Document, tmp_path: Path) -> None:
        chosen = System(state.load(tmp_path / "chosen", "temporal"), tmp_path / "cache").programs()
        assert composition.agreement(document, chosen) == []
        slow = faulty(document, put("temporal", "stop_grace_period", "5s"))
        assert composition.agreement(slow, chosen) == ["temporal has 25 s to stop natively, 5s in its container"]
        mine = next(list(program.command) for program in chosen if program.name == "temporal")
        theirs = document["services"]["temporal"]["command"]
        assert [word for word in mine if word.startswith("--")] == [word for word in theirs if word.startswith("--")]

    def test_kafka_is_configured_alike(self, prepared: Path, tmp_path: Path) -> None:
        (tmp_path / "kafka" / "data").mkdir(parents=True)
        (tmp_path / "kafka" / "data" / "meta.properties").touch()
        Broker(tmp_path / "kafka", tmp_path, port=1, controller_port=2, cluster_id="").prepare()
        mine, theirs = properties(tmp_path / "kafka" / "server.properties"), properties(prepared / "server.properties")
        places = {"controller.quorum.bootstrap.servers", "listeners", "advertised.listeners", "log.dirs"}
        assert different(mine, theirs) == places
        assert different(mine, theirs | {"auto.create.topics.enable": "true"}) == places | {"auto.create.topics.enable"}
        assert theirs["advertised.listeners"].startswith("PLAINTEXT://kafka:9092")

    def test_connect_is_configured_alike(self, prepared: Path, tmp_path: Path) -> None:
        Connect(tmp_path / "connect", tmp_path, port=1, kafka_port=2).prepare()
        mine, theirs = properties(tmp_path / "connect" / "connect.properties"), properties(prepared / "connect.properties")
        assert different(mine, theirs) == {"bootstrap.servers", "listeners", "rest.advertised.host.name"}
        assert theirs["listeners"] == "http://0.0.0.0:8083"


def properties(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def different(mine: dict[str, str], theirs: dict[str, str]) -> set[str]:
    return {key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)}


class Recorder:
    """Stands where Kafka and Connect would be; remembers what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.topics: list[str] = []
        self.connectors: list[tuple[str, dict[str, str]]] = []

        async def create(bootstrap: str) -> list[str]:
            self.topics.append(bootstrap)
            return []

        monkeypatch.setattr(topics, "apply", create)
        monkeypatch.setattr("deploy.native.database.system_identifier", lambda _: "77")
        monkeypatch.setattr("deploy.native.database.current_lsn", lambda _: 5)
        client = "deploy.native.connect.ConnectClient"
        monkeypatch.setattr(f"{client}.until_ready", lambda _: None)
        monkeypatch.setattr(f"{client}.stored_lsn", lambda _, name: 5)
        monkeypatch.setattr(f"{client}.apply", lambda _, name, config: self.connectors.append((name, config)))


class TestTheApplyStep:
    """Topics and the connector are derived in one place; the step may only say where."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> Recorder:
        monkeypatch.setenv("VANTAGE_POSTGRES_PASSWORD", "made-up")
        monkeypatch.setenv(containers.CLUSTER_ID, "made-up")
        return Recorder(monkeypatch)

    def test_declares_the_switchboards_topics_at_the_containers_broker(self, asked: Recorder) -> None:
        assert main(["apply"]) == 0
        assert asked.topics == ["kafka:9092"]
        assert len({topic.name for topic in TOPICS}) == len(TOPICS) > 0

    def test_declares_the_native_connector_but_for_where_postgres_is(self, asked: Recorder, native: System) -> None:
        assert main(["apply"]) == 0
        native.declare_topics()
        native.connector()
        (name, composed), (native_name, mine) = asked.connectors
        assert name == native_name == "outbox-77"
        assert different(mine, composed) == {"database.hostname", "database.port"}
        assert composed == connector_config("77", "postgres", 5432)

    @pytest.mark.parametrize("step", ["migrate", "apply", "watch"])
    def test_a_step_without_its_secrets_says_which_and_fails(
        self, step: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("VANTAGE_POSTGRES_PASSWORD", raising=False)
        assert main([step]) == 1
        assert f"{step}: not set: VANTAGE_POSTGRES_PASSWORD" in capsys.readouterr().err

    def test_each_step_is_given_what_it_asks_for(self, document: Document) -> None:
        for step in ("apply", "watchdog"):
            assert set(document["services"][step]["environment"]) == {"VANTAGE_POSTGRES_PASSWORD", containers.CLUSTER_ID}
        given = dict.fromkeys(document["services"]["migrate"]["environment"], "made-up")
        told = Backbone(containers.from_environment(given, containers.everything())).state
        assert told.url("audit_owner") == "postgresql://audit_owner:made-up@postgres:5432/vantage"


class TestTheGateway:
    def test_envoy_accepts_what_prepare_writes(self, prepared: Path) -> None:
        assert gateway.validate(here(prepared)).returncode == 0

    def test_envoy_refuses_a_route_to_no_cluster(self, prepared: Path) -> None:
        listeners = prepared / "gateway" / "listeners.yaml"
        listeners.write_text(listeners.read_text().replace("cluster: audit, timeout", "cluster: nobody, timeout"))
        answer = gateway.validate(here(prepared))
        assert answer.returncode != 0
        assert "nobody" in answer.stderr

    def test_asks_every_container_where_it_listens(self, document: Document, envoy: Document) -> None:
        assert composition.doors(document, envoy) == []

    @pytest.mark.parametrize(
        ("fault", "found"),
        [
            (say("audit", "VANTAGE_HTTP_PORT", "8001"), "cluster audit asks port 8000, 8001 is listened on"),
            (say("auth", "GOTRUE_API_PORT", "8002"), "cluster auth asks port 8000, 8002 is listened on"),
            (put("gateway", "ports", ["127.0.0.1:80:80"]), "the gateway listens on 8080, 8443, published is 80"),
            (lambda document: document["services"].pop("audit"), "cluster audit asks audit, which is no such container"),
        ],
    )
    def test_a_door_that_is_elsewhere_is_told(self, document: Document, envoy: Document, fault: Fault, found: str) -> None:
        assert found in composition.doors(faulty(document, fault), envoy)

    def test_leads_the_same_paths_to_the_same_services_as_natively(self, envoy: Document, native: System) -> None:
        mine = gateway.whole(gateway.prepare(native.state))
        assert composition.routes(mine) == composition.routes(envoy) != []

    def test_leads_every_public_path_to_its_service(self, envoy: Document) -> None:
        paths: dict[str, list[str]] = defaultdict(list)
        for operation in operations():
            paths[operation.service].append(operation.path)
        assert composition.led_astray(envoy, paths) == []
        assert composition.led_astray(envoy, {"audit": ["/v1/patients", "/v1/new"]}) == [
            "/v1/patients of audit is led to patients",
            "/v1/new of audit is led to nobody",
        ]
