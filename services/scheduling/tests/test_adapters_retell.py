"""Our words into Retell's and back, against its simulator: accepted, refused, lost, found again, and signed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.actions.outcomes import Attempt
from libs.testing.simulators.retell import RetellSimulator, signature
from services.scheduling.adapters import connections
from services.scheduling.adapters.retell import Retell
from services.scheduling.adapters.retell_notices import PASSING, read_report
from services.scheduling.rules.calling import OutboundCall
from services.scheduling.rules.calls import CallReport, News
from services.scheduling.rules.notices import SetAside
from services.scheduling.rules.signatures import retell_signature_valid
from services.scheduling.tests.retell import AGENT, KEY, NUMBER, PATIENT_NUMBER, analyzed, ended, missed, running, started

Simulated = tuple[RetellSimulator, str]


def outbound(**fields: Any) -> OutboundCall:
    values = {
        "practice_id": uuid4(), "effect_key": uuid4(), "call_id": uuid4(), "api_key": KEY, "from_number": NUMBER, "to_number": PATIENT_NUMBER,
        "agent_id": AGENT, "variables": {"first_name": "Jonas"}, **fields,
    }  # fmt: skip
    return OutboundCall(**values)


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Simulated]:
    async with running(tmp_path) as here:
        yield here


@pytest.fixture
async def provider(simulator: Simulated) -> AsyncIterator[Retell]:
    retell = Retell(simulator[1])
    await retell.open()
    yield retell
    await retell.close()


class TestDial:
    async def test_is_accepted_and_carries_ids_and_what_the_agent_may_know(self, provider: Retell, simulator: Simulated) -> None:
        call = outbound()
        answer = await provider.dial(call)
        (taken,) = simulator[0].record.lines
        assert (answer.attempt, answer.external_id) == (Attempt.ACCEPTED, taken["call_id"])
        assert taken["metadata"] == {"vantage_effect": str(call.effect_key), "vantage_call": str(call.call_id)}
        assert (taken["from_number"], taken["to_number"], taken["agent_id"]) == (NUMBER, PATIENT_NUMBER, AGENT)
        assert taken["retell_llm_dynamic_variables"] == {"first_name": "Jonas"}

    async def test_twice_under_one_key_is_one_call(self, provider: Retell, simulator: Simulated) -> None:
        call = outbound()
        first, second = await provider.dial(call), await provider.dial(call)
        assert first == second
        assert len(simulator[0].record.lines) == 1

    @pytest.mark.parametrize(
        ("status", "attempt"),
        [
            (400, Attempt.REFUSED), (401, Attempt.REFUSED), (402, Attempt.REFUSED), (422, Attempt.REFUSED), (429, Attempt.NOT_SENT),
            (503, Attempt.NOT_SENT), (500, Attempt.LOST), (504, Attempt.LOST),
        ],
    )  # fmt: skip
    async def test_says_what_a_status_means(self, status: int, attempt: Attempt, provider: Retell, simulator: Simulated) -> None:
        simulator[0].faults.plan({"kind": "status", "status": status})
        answer = await provider.dial(outbound())
        assert (answer.attempt, answer.code, simulator[0].record.lines) == (attempt, f"provider_status_{status}", [])

    @pytest.mark.parametrize(
        "fields",
        [{"to_number": "0170"}, {"from_number": ""}, {"variables": {"age": 7}}, {"api_key": "of-somebody-else"}, {"agent_id": ""}],
    )
    async def test_is_refused_for_what_the_real_one_refuses(self, fields: dict[str, Any], provider: Retell) -> None:
        assert (await provider.dial(outbound(**fields))).attempt is Attempt.REFUSED

    async def test_is_lost_when_the_answer_is(self, provider: Retell, simulator: Simulated) -> None:
        simulator[0].faults.plan({"kind": "lose"})
        answer = await provider.dial(outbound())
        assert (answer.attempt, answer.code, len(simulator[0].record.lines)) == (Attempt.LOST, "provider_answer_lost", 1)

    async def test_is_lost_when_no_answer_comes(self, simulator: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "TIMEOUT", httpx.Timeout(0.2, connect=5.0))
        simulator[0].faults.plan({"kind": "delay", "seconds": 2})
        patient = Retell(simulator[1])
        await patient.open()
        assert (await patient.dial(outbound())).attempt is Attempt.LOST
        await patient.close()

    async def test_happens_to_nobody_when_nobody_is_there(self) -> None:
        nobody = Retell("http://127.0.0.1:1")
        await nobody.open()
        answer = await nobody.dial(outbound())
        await nobody.close()
        assert (answer.attempt, answer.code) == (Attempt.NOT_SENT, "provider_unreachable")

    def test_hides_the_number_the_key_and_the_variables_from_whoever_prints_it(self) -> None:
        text = repr(outbound())
        assert not [secret for secret in (KEY, PATIENT_NUMBER, "Jonas") if secret in text]


class TestFind:
    async def test_finds_the_call_whose_answer_was_lost(self, provider: Retell, simulator: Simulated) -> None:
        call = outbound()
        simulator[0].faults.plan({"kind": "lose"})
        await provider.dial(call)
        assert await provider.find(KEY, call.effect_key) == simulator[0].record.lines[0]["call_id"]

    async def test_finds_nothing_that_was_never_asked_for(self, provider: Retell) -> None:
        await provider.dial(outbound())
        assert await provider.find(KEY, uuid4()) is None

    @pytest.mark.parametrize("status", [401, 429, 500])
    async def test_does_not_take_a_refusal_for_an_answer(self, status: int, provider: Retell, simulator: Simulated) -> None:
        simulator[0].faults.plan({"kind": "status", "status": status})
        with pytest.raises(httpx.HTTPError):
            await provider.find(KEY, uuid4())


class TestOutcome:
    async def test_is_what_became_of_the_call_once_it_is_over(self, provider: Retell, simulator: Simulated) -> None:
        answer = await provider.dial(outbound())
        (call,) = simulator[0].record.lines
        seen = []
        for event in ("call_started", "call_ended", "call_analyzed"):
            await simulator[0]._tell(call, event)
            report = await provider.outcome(KEY, answer.external_id)
            seen.append(report and report.kind)
        assert seen == [None, News.ENDED, News.ANALYZED]

    @pytest.mark.parametrize("name", ["none", "../list-calls", "a/b?c=d#e", " "])
    async def test_of_a_call_nobody_knows_is_none(self, provider: Retell, name: str) -> None:
        assert await provider.outcome(KEY, name) is None

    async def test_is_not_what_a_refusal_says(self, provider: Retell, simulator: Simulated) -> None:
        simulator[0].faults.plan({"kind": "status", "status": 401})
        with pytest.raises(httpx.HTTPError):
            await provider.outcome(KEY, "call")


class TestSignature:
    AT = datetime(2027, 1, 1, 12, 0, tzinfo=UTC)
    BODY = b'{"event":"call_ended"}'

    def test_is_the_one_the_simulator_makes(self) -> None:
        signed = signature(self.BODY, KEY, int(self.AT.timestamp() * 1000))
        assert retell_signature_valid(self.BODY, signed, ["another", KEY], self.AT)
        assert not retell_signature_valid(self.BODY, signed, ["another"], self.AT)
        assert not retell_signature_valid(self.BODY + b" ", signed, [KEY], self.AT)

    @pytest.mark.parametrize(("late_ms", "valid"), [(300_000, True), (300_001, False), (-300_000, True), (-300_001, False)])
    def test_holds_for_five_minutes_to_the_millisecond(self, late_ms: int, valid: bool) -> None:
        signed = signature(self.BODY, KEY, int(self.AT.timestamp() * 1000))
        assert retell_signature_valid(self.BODY, signed, [KEY], self.AT + timedelta(milliseconds=late_ms)) == valid

    @given(st.text(max_size=200))
    def test_refuses_any_other_text_without_stumbling(self, text: str) -> None:
        assert not retell_signature_valid(self.BODY, text, [KEY], self.AT)

    def test_takes_no_digits_of_other_scripts(self) -> None:
        at_ms = int(self.AT.timestamp() * 1000)
        signed = signature(self.BODY, KEY, at_ms)
        foreign = signed.replace(str(at_ms), "".join(chr(0xFF10 + int(digit)) for digit in str(at_ms)))
        assert not retell_signature_valid(self.BODY, foreign, [KEY], self.AT)
        assert not retell_signature_valid(self.BODY, signed + "\n", [KEY], self.AT)
        assert not retell_signature_valid(self.BODY, signed.upper(), [KEY], self.AT)


def read(body: dict[str, Any]) -> CallReport:
    report = read_report(json.dumps(body).encode())
    assert isinstance(report, CallReport)
    return report


class TestRead:
    def test_reads_a_whole_course(self) -> None:
        assert read(started("c")).kind is News.STARTED
        end = read(ended("c"))
        assert (end.connected, end.duration_seconds, end.reason, end.summary) == (True, 16, "user_hangup", None)
        assert read(analyzed("c")).summary == "The patient will come."
        assert read(missed("c")).connected is False

    @pytest.mark.parametrize("reason", ["dial_busy", "dial_failed", "dial_no_answer", "user_declined", "invalid_destination"])
    def test_nobody_answered_a_call_that_ended_so(self, reason: str) -> None:
        assert read(ended("c", disconnection_reason=reason)).connected is False

    def test_a_call_that_ended_with_its_status_still_registered_counts_by_its_start(self) -> None:
        assert read(ended("c", call_status="registered")).connected is True
        assert read(ended("c", call_status="registered", start_timestamp=None)).connected is False

    def test_takes_the_effect_key_from_the_metadata_when_it_is_one(self) -> None:
        key = uuid4()
        assert read(started("c", metadata={"vantage_effect": str(key)})).effect_key == key
        others: list[object] = [{"vantage_effect": "1"}, {"vantage_effect": 7}, {}, None, []]
        for other in others:
            assert read(started("c", metadata=other)).effect_key is None

    @pytest.mark.parametrize("value", [None, True, -1, "1714608475945", 10**30, [], {}])
    def test_takes_no_time_that_is_none(self, value: object) -> None:
        report = read(ended("c", start_timestamp=value, end_timestamp=value, duration_ms=value))
        assert (report.started_at, report.ended_at, report.duration_seconds) == (None, None, None)

    def test_a_reason_nobody_knows_yet_is_kept(self) -> None:
        assert read(ended("c", disconnection_reason="abducted")).reason == "abducted"

    def test_passes_over_what_is_said_again_at_the_end(self) -> None:
        found = read_report(b'{"event":"transcript_updated","call":{}}')
        assert isinstance(found, SetAside)
        assert found.reason == PASSING

    @given(st.binary(max_size=300))
    def test_reads_any_bytes_without_stumbling(self, raw: bytes) -> None:
        read_report(raw)

    @given(
        st.sampled_from(["call_started", "call_ended", "call_analyzed"]),
        st.dictionaries(
            st.sampled_from(
                ["call_id", "direction", "metadata", "transcript", "call_analysis", "duration_ms", "from_number", "call_status"]
            ),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), lambda v: st.lists(v, max_size=2)
            ),
        ),
    )
    def test_reads_any_call_without_stumbling(self, event: str, changes: dict[str, Any]) -> None:
        read_report(json.dumps({"event": event, "call": {**started("c")["call"], **changes}}).encode())
