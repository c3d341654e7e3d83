"""A failed connector task is started again, with growing pauses and a louder voice; a foreign Connect is left alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import httpx
import psycopg
import pytest

from deploy.native import database
from deploy.native import watchdog as module
from deploy.native.backbone import Backbone
from deploy.native.connect import ConnectClient, ConnectFailed, connector_config
from deploy.native.watchdog import LOUD_AFTER, PAUSE_LIMIT_SECONDS, PERIOD_SECONDS, SLOT_LAG_LIMIT_BYTES, Watchdog


class FakeConnect:
    """A Connect whose task fails a given number of times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.restarted = 0

    def running(self, _: str) -> bool:
        return self.failures <= self.restarted

    def restart_failed(self, _: str) -> None:
        self.restarted += 1


class Voice:
    """What the watchdog said, by level."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def __getattr__(self, level: str) -> Any:
        return lambda event, **_: self.said.append((level, event))


@pytest.fixture
def voice(monkeypatch: pytest.MonkeyPatch) -> Voice:
    voice = Voice()
    monkeypatch.setattr(module, "log", voice)
    monkeypatch.setattr(database, "system_identifier", lambda _: "1")
    monkeypatch.setattr(database, "slot_lag_bytes", lambda _: 0)
    return voice


def watching(connect: FakeConnect) -> Watchdog:
    return Watchdog(cast("Backbone", SimpleNamespace(state=None, connect_client=connect)))


class TestWatchdog:
    def test_restarts_a_failed_task_with_growing_pauses_and_forgets_when_it_runs(self, voice: Voice) -> None:
        connect = FakeConnect(failures=3)
        watchdog = watching(connect)
        pauses = [watchdog.round() for _ in range(4)]
        assert pauses == [2 * PERIOD_SECONDS, 4 * PERIOD_SECONDS, 8 * PERIOD_SECONDS, PERIOD_SECONDS]
        assert (connect.restarted, watchdog.failures) == (3, 0)
        assert voice.said == [("warning", "connector.restarted")] * 3

    def test_raises_its_voice_when_it_keeps_failing_and_never_stops_trying(self, voice: Voice) -> None:
        watchdog = watching(FakeConnect(failures=10**6))
        assert [watchdog.round() for _ in range(30)][-1] == PAUSE_LIMIT_SECONDS
        assert voice.said[LOUD_AFTER - 2][0] == "warning"
        assert voice.said[LOUD_AFTER - 1][0] == "error"

    def test_tells_a_slot_that_is_missing_or_lags(self, voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
        for lag in (None, SLOT_LAG_LIMIT_BYTES + 1):
            monkeypatch.setattr(database, "slot_lag_bytes", lambda _, lag=lag: lag)
            watching(FakeConnect(failures=0)).round()
        assert voice.said == [("error", "slot.missing"), ("error", "slot.lagging")]

    def test_waits_while_the_database_is_away(self, voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(_: object) -> str:
            raise psycopg.OperationalError

        monkeypatch.setattr(database, "system_identifier", away)
        connect = FakeConnect(failures=1)
        assert watching(connect).round() == PERIOD_SECONDS
        assert connect.restarted == 0


def client(cluster: str, answers: dict[str, Any]) -> ConnectClient:
    """A client on a Connect that answers by path; a list is answered one by one."""

    def answer(request: httpx.Request) -> httpx.Response:
        found = answers[request.url.path]
        status, body = found.pop(0) if isinstance(found, list) else found
        return httpx.Response(status, json=body)

    made = ConnectClient("http://connect.test", cluster)
    made.close()
    made._client = httpx.Client(base_url="http://connect.test", transport=httpx.MockTransport(answer))
    return made


class TestConnectClient:
    def test_touches_no_connect_of_another_cluster(self) -> None:
        foreign = client("ours", {"/health": (200, {}), "/": (200, {"kafka_cluster_id": "theirs"})})
        with pytest.raises(ConnectFailed, match="belongs to another installation; nothing was touched"):
            foreign.until_ready(within=1)

    def test_tries_again_while_connect_rebalances(self) -> None:
        busy = client("ours", {"/connectors": [(409, {}), (200, ["outbox-1"])]})
        assert busy.connectors() == ["outbox-1"]

    def test_says_what_connect_refused(self) -> None:
        with pytest.raises(ConnectFailed, match="GET /connectors: 500"):
            client("ours", {"/connectors": (500, {"message": "no"})}).connectors()

    def test_a_connector_without_tasks_does_not_run(self) -> None:
        status = {"connector": {"state": "RUNNING"}, "tasks": []}
        assert not client("ours", {"/connectors/a/status": (200, status)}).running("a")


class TestConnectorConfig:
    def test_names_the_database_cluster_and_keeps_the_password_out(self) -> None:
        config = connector_config("42", "127.0.0.1", 5432)
        assert config["topic.prefix"] == "cdc.s42"
        assert config["database.password"] == "${env:DBZ_PASSWORD}"
        assert config["transforms.outbox.route.topic.replacement"] == "${routedByValue}"
