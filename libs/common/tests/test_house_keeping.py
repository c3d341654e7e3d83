"""Logs that cannot tell secrets, spans that carry ids only, duties that survive, plug-ins, the command line, start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel

from libs.common import telemetry
from libs.common.actions import ActionPlugin, Effect, ParametersInvalid, discover, parameters_of, publish_catalogue
from libs.common.auth import Principal
from libs.common.duties import Duty
from libs.common.logging import get_logger, start_logging
from libs.common.main import main
from libs.common.service import Service
from libs.common.settings import ServiceSettings
from libs.common.telemetry import context_of, current_traceparent, link_to, outgoing_headers, span, traceparent_of
from libs.common.tests.conftest import SERVICE
from libs.common.work import Tx, Work
from libs.contracts.actions import ActionRequest
from libs.contracts.envelope import PLATFORM
from libs.contracts.registry import MESSAGES
from libs.testing.fixtures import CURSOR_KEY, GATEWAY_KEY, GATEWAY_PROOF, ISSUER, SECRETS_KEYS
from libs.testing.postgres import TENANCY_KEY, TestDatabase

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "mira.holm@mail.example"


_PARK = """
INSERT INTO patients.parked (practice_id, id, topic, partition, "offset", subject, headers, value, code)
VALUES (%(p)s, %(m)s, 't', 0, 0, 'thing/1', '{}', '', 'not_found')
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class TestLogs:
    @pytest.fixture
    def lines(self) -> Iterator[Any]:
        written = io.StringIO()
        with contextlib.redirect_stdout(written):
            start_logging("test", "info")
        yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
        with contextlib.redirect_stdout(sys.__stdout__):
            start_logging("test", "critical")

    def test_are_one_object_a_line_with_fields_from_the_list(self, lines: Any) -> None:
        get_logger().info("message.parked", code="not_found", offset=7)
        (line,) = lines()
        assert (line["event"], line["level"], line["service"], line["code"], line["offset"]) == (
            "message.parked",
            "info",
            "test",
            "not_found",
            7,
        )

    def test_replace_a_field_that_is_not_on_the_list_by_its_type(self, lines: Any) -> None:
        get_logger().info("patient.registered", email=SECRET, body={"email": SECRET})
        (line,) = lines()
        assert (line["email"], line["body"]) == ("<str>", "<dict>")
        assert SECRET not in json.dumps(line)

    def test_tell_an_exceptions_class_and_place_and_never_its_text(self, lines: Any) -> None:
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            get_logger().error("request.failed", exc_info=error)
        (line,) = lines()
        assert (line["exception"], "test_house_keeping.py" in line["location"]) == ("ValueError", True)
        assert SECRET not in json.dumps(line)

    def test_tell_a_librarys_warning_without_its_arguments(self, lines: Any) -> None:
        logging.getLogger("driver").warning("cannot insert %s", SECRET)
        (line,) = lines()
        assert (line["event"], line["reason"]) == ("library.warning", "cannot insert %s")
        assert SECRET not in json.dumps(line)

    def test_carry_the_trace(self, lines: Any) -> None:
        with span("x", parent=context_of(TRACE)):
            get_logger().info("message.parked")
        assert lines()[0]["trace_id"] == "0af7651916cd43dd8448eb211c80319c"

    def test_say_nothing_below_their_level(self, lines: Any) -> None:
        get_logger().debug("message.parked")
        assert lines() == []


class TestTraces:
    @pytest.fixture
    def spans(self, monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
        exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("test"))
        return exporter

    def test_continue_a_remote_one(self, spans: InMemorySpanExporter) -> None:
        with span("handle", parent=context_of(TRACE)) as current:
            assert current_traceparent() == traceparent_of(current) == outgoing_headers()["traceparent"]
        (done,) = spans.get_finished_spans()
        assert done.parent is not None
        assert (f"{done.parent.trace_id:032x}", f"{done.parent.span_id:016x}") == tuple(TRACE.split("-")[1:3])

    def test_tell_an_errors_class_and_never_its_text(self, spans: InMemorySpanExporter) -> None:
        with pytest.raises(ValueError, match="mira"), span("handle"):
            raise ValueError(SECRET)
        (done,) = spans.get_finished_spans()
        assert (done.attributes or {})["error.type"] == "ValueError"
        assert SECRET not in done.to_json()

    @pytest.mark.parametrize("broken", ["", "00-abc", "not a trace", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
    def test_begin_anew_when_there_is_none_to_continue(self, broken: str, spans: InMemorySpanExporter) -> None:
        with span("handle", parent=context_of(broken)):
            pass
        assert spans.get_finished_spans()[0].parent is None
        assert link_to(broken) == []

    def test_link_instead_of_nesting_after_a_long_wait(self) -> None:
        (link,) = link_to(TRACE)
        assert f"{link.context.span_id:016x}" == TRACE.split("-")[2]

    def test_outside_of_any_there_is_nothing_to_pass_on(self) -> None:
        assert current_traceparent() == traceparent_of(trace.INVALID_SPAN) == ""


class TestDuties:
    async def test_a_failing_one_is_tried_again_and_a_woken_one_runs_at_once(self) -> None:
        rounds: list[int] = []
        failed, again = asyncio.Event(), asyncio.Event()

        async def run() -> float | None:
            rounds.append(1)
            if len(rounds) == 1:
                failed.set()
                raise ValueError(SECRET)
            again.set()
            return None

        duty = Duty("test", 3600, run)
        task = asyncio.create_task(duty.forever())
        async with asyncio.timeout(5):
            await failed.wait()
            await asyncio.sleep(0)
            duty.wake()
            await again.wait()
            duty.stop()
            await task
        assert len(rounds) == 2

    async def test_one_that_wants_to_run_sooner_does(self) -> None:
        rounds: list[int] = []

        async def run() -> float | None:
            rounds.append(1)
            if len(rounds) == 3:
                duty.stop()
            return 0.0

        duty = Duty("test", 3600, run)
        async with asyncio.timeout(5):
            await duty.forever()
        assert len(rounds) == 3


class Parameters(BaseModel):
    text: str
    size: int = 1


async def echo(parameters: Parameters, effect: Effect, tx: Tx) -> Parameters:
    return parameters


PLUGIN = ActionPlugin(f"test_{uuid4().hex}", SERVICE, "Test", "Tests.", Parameters, Parameters, echo, idempotent=True)


class TestActions:
    def request(self, **parameters: Any) -> ActionRequest:
        values = {"effect_key": uuid4(), "action": "x", "run_id": uuid4(), "step_id": "x", "parameters": parameters}
        return MESSAGES["vantage.patients.perform-action.v1"].model_validate(values)  # type: ignore[return-value]

    def test_parameters_become_the_plug_ins_model(self) -> None:
        assert parameters_of(self.request(text="x"), Parameters) == Parameters(text="x")

    def test_wrong_ones_are_pointed_at_and_not_repeated(self) -> None:
        with pytest.raises(ParametersInvalid) as refused:
            parameters_of(self.request(text="x", size=SECRET), Parameters)
        assert (refused.value.pointer, refused.value.details) == ("/size", {"problem": "int_parsing"})

    def test_only_the_owners_plug_ins_are_found(self) -> None:
        assert [plugin.name for plugin in discover("patients")] == ["add_note", "add_tag", "remove_tag", "update_patient"]
        assert discover("audit") == []

    def test_a_plug_in_that_is_none_stops_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Point:
            name = "broken"
            module = "libs.common.actions"

            def load(self) -> object:
                return "not a plug-in"

        monkeypatch.setattr("libs.common.actions.catalogue.entry_points", lambda group: [Point()])
        with pytest.raises(TypeError, match="broken"):
            discover(SERVICE)

    async def test_the_catalogue_is_said_when_it_changed_and_only_then(self, work: Work) -> None:
        assert [await publish_catalogue(work, [PLUGIN]) for _ in range(2)] == [1, 0]
        changed = ActionPlugin(PLUGIN.name, SERVICE, "Renamed", "Tests.", Parameters, Parameters, echo, idempotent=True)
        assert await publish_catalogue(work, [changed]) == 1
        async with work.batch([PLATFORM], Principal.platform(SERVICE)) as tx:
            keys = await tx.rows("SELECT key, topic FROM outbox WHERE practice_id = $1 AND subject = $2", PLATFORM, f"action/{PLUGIN.name}")
        assert {tuple(row) for row in keys} == {(f"action/{PLUGIN.name}", "vantage.workflows.catalogue")}


class Settings(ServiceSettings):
    greeting: str = "hello"


@pytest.fixture
def environment(database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    values = {
        "HTTP_PORT": str(free_port()), "DATABASE_URL": database.app(SERVICE), "KAFKA": "127.0.0.1:1", "TENANCY_KEY": TENANCY_KEY,
        "SECRETS_KEYS": SECRETS_KEYS, "CURSOR_KEY": CURSOR_KEY, "GATEWAY_KEY": GATEWAY_KEY, "GATEWAY_PROOF": GATEWAY_PROOF, "ISSUER": ISSUER, "JWKS_URL": "http://127.0.0.1:1/",
        "LOG_LEVEL": "critical",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(f"VANTAGE_{name}", value)
    return values


def build(settings: Settings) -> Service:
    return Service(SERVICE, settings)


class TestCommandLine:
    def run(self, *arguments: str) -> int:
        return main(SERVICE, Settings, build, list(arguments))

    @pytest.mark.parametrize("arguments", [(), ("dance",), ("parked",), ("secrets",), ("parked", "discard", "x", "y", "--note", "z")])
    def test_bad_usage_ends_with_two(self, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as left:
            self.run(*arguments)
        assert left.value.code == 2
        assert "usage" in capsys.readouterr().err

    def test_missing_and_wrong_settings_are_named_in_one_line_and_not_repeated(
        self, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("VANTAGE_TENANCY_KEY")
        monkeypatch.setenv("VANTAGE_HTTP_PORT", SECRET)
        assert self.run("serve") == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert "VANTAGE_TENANCY_KEY (missing)" in told
        assert "VANTAGE_HTTP_PORT" in told
        assert SECRET not in told

    @pytest.mark.parametrize(
        ("variable", "value", "told"),
        [
            ("SECRETS_KEYS", None, "VANTAGE_SECRETS_KEYS (missing)"),
            ("SECRETS_KEYS", "", "VANTAGE_SECRETS_KEYS (entry 1 is not id:key)"),
            ("SECRETS_KEYS", "a:" + "00" * 32, "VANTAGE_SECRETS_KEYS (the key of entry 1 is a placeholder, not a random key)"),
            ("SECRETS_KEYS", f"{SECRETS_KEYS},test:{CURSOR_KEY}", "VANTAGE_SECRETS_KEYS (entry 2 repeats the id of another)"),
            ("SECRETS_KEYS", SECRETS_KEYS[:-2], "VANTAGE_SECRETS_KEYS (the key of entry 1 is not 32 bytes in hex)"),
            ("CURSOR_KEY", None, "VANTAGE_CURSOR_KEY (missing)"),
            ("CURSOR_KEY", CURSOR_KEY[:-2], "VANTAGE_CURSOR_KEY (it is not 32 bytes in hex)"),
        ],
        ids=lambda told: told if isinstance(told, str) and told.startswith("VANTAGE") else "",
    )
    def test_without_sound_keys_nothing_starts(
        self,
        variable: str,
        value: str | None,
        told: str,
        environment: dict[str, str],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.delenv(f"VANTAGE_{variable}")
        if value is not None:
            monkeypatch.setenv(f"VANTAGE_{variable}", value)
        for command in (("serve",), ("secrets", "rotate")):
            assert self.run(*command) == 2
            assert capsys.readouterr().err == f"{SERVICE}: settings: missing or wrong: {told}\n"

    def test_a_service_without_sealed_values_has_none_to_rotate(
        self, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert [self.run("secrets", "status"), self.run("secrets", "rotate")] == [0, 0]
        assert capsys.readouterr().out == "0 re-wrapped, 0 not under the current key\n"

    def test_cursors_do_not_notice_a_rotation(self, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        practice = uuid4()
        cursor = build(Settings()).app.state.cursors.make(practice, "list", ["a"])
        monkeypatch.setenv("VANTAGE_SECRETS_KEYS", "next:" + uuid4().hex + uuid4().hex)
        assert build(Settings()).app.state.cursors.read(practice, "list", cursor) == ("a",)

    def test_migrate_says_what_it_needs(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.delenv("VANTAGE_MIGRATION_DATABASE_URL", raising=False)
        assert self.run("migrate") == 2
        assert "VANTAGE_MIGRATION_DATABASE_URL (missing)" in capsys.readouterr().err

    def test_migrating_again_changes_nothing(self, database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VANTAGE_MIGRATION_DATABASE_URL", database.url(f"{SERVICE}_owner"))
        assert [self.run("migrate"), self.run("migrate")] == [0, 0]

    def test_parked_messages_can_be_listed_corrected_redriven_and_discarded(
        self, environment: dict[str, str], superuser: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        practice, message = uuid4(), uuid4()
        for statement in (
            "INSERT INTO patients.parked_subject (practice_id, subject) VALUES (%(p)s, 'thing/1')",
            _PARK,
        ):
            superuser.execute(statement, {"p": practice, "m": message})
        assert self.run("parked", "list") == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if str(practice) in line]
        assert line.split("\t")[2:4] == [str(message), "thing/1"]
        assert self.run("parked", "redrive", str(practice), "thing/1") == 1
        corrected = tmp_path / "corrected.json"
        corrected.write_bytes(b"{}")
        assert self.run("parked", "correct", str(practice), str(message), "--value", str(corrected), "--note", "x") == 0
        assert self.run("parked", "discard", str(practice), str(message), "--note", "noise") == 0
        assert self.run("parked", "discard", str(practice), str(message), "--note", "noise") == 1
        assert self.run("parked", "correct", str(practice), str(UUID(int=1)), "--value", str(corrected), "--note", "x") == 1


class TestService:
    async def test_opens_in_order_answers_and_leaves_in_reverse(self, environment: dict[str, str]) -> None:
        service = build(Settings())
        heard: list[str] = []
        ran = asyncio.Event()

        async def note(what: str) -> None:
            heard.append(what)

        async def duty() -> float | None:
            ran.set()
            return None

        service.background(lambda: note("first opens"), lambda: note("first closes"))
        service.background(lambda: note("second opens"), lambda: note("second closes"))
        service.every(seconds=3600, run=duty, name="test")
        serving = asyncio.create_task(service.serve())
        async with asyncio.timeout(20):
            await ran.wait()
            service.wake("test")
            await self._answers(f"http://127.0.0.1:{environment['HTTP_PORT']}/readyz", serving)
            os.kill(os.getpid(), signal.SIGTERM)
            await serving
        assert heard == ["first opens", "second opens", "second closes", "first closes"]

    async def _answers(self, url: str, serving: asyncio.Task[None]) -> None:
        async with httpx.AsyncClient() as client:
            while not serving.done():
                try:
                    assert (await client.get(url)).status_code == 200
                except httpx.ConnectError:
                    await asyncio.sleep(0)
                else:
                    return
        serving.result()

    async def test_a_failing_start_is_raised(self, environment: dict[str, str]) -> None:
        service = build(Settings())

        async def fails() -> None:
            raise LookupError

        service.background(fails, fails)
        with pytest.raises(LookupError):
            async with asyncio.timeout(20):
                await service.serve()
