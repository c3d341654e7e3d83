"""Our words into SendGrid's and back, against its simulator: what was accepted, refused, lost, and signed."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from libs.common.actions.outcomes import Attempt
from libs.contracts.notifications import MessageStatus
from libs.testing.simulators.sendgrid import SendGridSimulator
from services.notifications.adapters import sendgrid as adapter
from services.notifications.adapters.sendgrid import SendGrid, request_body
from services.notifications.adapters.sendgrid_events import WebhookMalformed, WebhookRefused, read, verify
from services.notifications.rules.mail import Email
from services.notifications.tests.provider import API_KEY, running
from services.notifications.tests.test_rules import spki


def email(**fields: Any) -> Email:
    values = {
        "practice_id": uuid4(), "effect_key": uuid4(), "message_id": uuid4(), "api_key": API_KEY, "sender_email": "intake@lindenhof.example",
        "sender_name": "Lindenhof", "to_email": "mira.holm@mail.example", "to_name": "Mira Holm", "subject": "Your visit", "text": "Dear Mira",
        **fields,
    }  # fmt: skip
    return Email(**values)


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[tuple[SendGridSimulator, str]]:
    async with running(tmp_path) as here:
        yield here


@pytest.fixture
async def provider(simulator: tuple[SendGridSimulator, str]) -> AsyncIterator[SendGrid]:
    sendgrid = SendGrid(simulator[1], 4)
    await sendgrid.open()
    yield sendgrid
    await sendgrid.close()


class TestSend:
    async def test_is_accepted_and_carries_ids_and_nothing_else_of_ours(
        self, provider: SendGrid, simulator: tuple[SendGridSimulator, str]
    ) -> None:
        mail = email(to_name="Holm, Mira; Dr.", text="Liebe Mira,\n\tbis bald ☀")
        answer = await provider.send(mail)
        (taken,) = simulator[0].record.lines
        assert (answer.attempt, answer.provider_message_id) == (Attempt.ACCEPTED, taken["message_id"])
        assert taken["custom_args"] == {"vantage_effect": str(mail.effect_key), "vantage_message": str(mail.message_id)}
        assert taken["personalizations"][0]["to"] == [{"email": mail.to_email, "name": "Holm  Mira  Dr."}]
        assert taken["content"] == [{"type": "text/plain", "value": mail.text}]
        assert taken["tracking_settings"]["open_tracking"] == {"enable": False}

    @pytest.mark.parametrize(
        ("status", "attempt"),
        [(400, Attempt.REFUSED), (401, Attempt.REFUSED), (429, Attempt.NOT_SENT), (503, Attempt.NOT_SENT), (500, Attempt.LOST)],
    )
    async def test_says_what_a_status_means(
        self, status: int, attempt: Attempt, provider: SendGrid, simulator: tuple[SendGridSimulator, str]
    ) -> None:
        simulator[0].faults.plan({"kind": "status", "status": status})
        answer = await provider.send(email())
        assert (answer.attempt, answer.code, simulator[0].record.lines) == (attempt, f"provider_status_{status}", [])

    @pytest.mark.parametrize("fields", [{"to_email": "nobody"}, {"sender_email": "nobody"}, {"subject": ""}, {"api_key": "wrong-key-here"}])
    async def test_is_refused_for_what_the_real_one_refuses(self, fields: dict[str, Any], provider: SendGrid) -> None:
        assert (await provider.send(email(**fields))).attempt is Attempt.REFUSED

    async def test_is_lost_when_the_answer_is(self, provider: SendGrid, simulator: tuple[SendGridSimulator, str]) -> None:
        simulator[0].faults.plan({"kind": "lose"})
        answer = await provider.send(email())
        assert (answer.attempt, answer.code, len(simulator[0].record.lines)) == (Attempt.LOST, "provider_answer_lost", 1)

    async def test_is_lost_when_no_answer_comes(self, simulator: tuple[SendGridSimulator, str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(adapter, "TIMEOUT", httpx.Timeout(0.2, connect=5.0))
        simulator[0].faults.plan({"kind": "delay", "seconds": 2})
        patient = SendGrid(simulator[1], 4)
        await patient.open()
        assert (await patient.send(email())).attempt is Attempt.LOST
        await patient.close()

    async def test_is_not_sent_when_nobody_is_there(self) -> None:
        nobody = SendGrid("http://127.0.0.1:1", 4)
        await nobody.open()
        answer = await nobody.send(email())
        await nobody.close()
        assert (answer.attempt, answer.code) == (Attempt.NOT_SENT, "provider_unreachable")

    @given(st.text(min_size=1, max_size=100), st.text(min_size=1, max_size=200))
    def test_keeps_subject_and_text_as_they_are(self, subject: str, text: str) -> None:
        body = request_body(email(subject=subject, text=text))
        assert (body["subject"], body["content"][0]["value"]) == (subject, text)


class TestFind:
    async def test_finds_what_was_accepted_by_its_effect_key(self, provider: SendGrid, simulator: tuple[SendGridSimulator, str]) -> None:
        mail = email()
        simulator[0].faults.plan({"kind": "lose"})
        await provider.send(mail)
        found = await provider.find(API_KEY, mail.effect_key)
        assert found is not None
        assert found.startswith(simulator[0].record.lines[0]["message_id"])
        assert await provider.find(API_KEY, uuid4()) is None

    @pytest.mark.parametrize("status", [401, 429, 500])
    async def test_raises_when_the_provider_cannot_say(
        self, status: int, provider: SendGrid, simulator: tuple[SendGridSimulator, str]
    ) -> None:
        simulator[0].faults.plan({"kind": "status", "status": status})
        with pytest.raises(httpx.HTTPError):
            await provider.find(API_KEY, uuid4())


KEY = ec.generate_private_key(ec.SECP256R1())
RAW = b'[{"event":"processed"}]\r\n'


def signature(raw: bytes = RAW, timestamp: str = "1700000000") -> str:
    return base64.b64encode(KEY.sign(timestamp.encode() + raw, ec.ECDSA(hashes.SHA256()))).decode()


class TestVerify:
    def test_believes_what_the_key_signed(self) -> None:
        verify(RAW, signature(), "1700000000", spki(KEY))

    @pytest.mark.parametrize(
        ("raw", "sent", "timestamp", "key"),
        [
            (RAW.strip(), signature(), "1700000000", spki(KEY)),
            (RAW, signature(), "1700000001", spki(KEY)),
            (RAW, signature(), None, spki(KEY)),
            (RAW, None, "1700000000", spki(KEY)),
            (RAW, "", "1700000000", spki(KEY)),
            (RAW, "not base64!", "1700000000", spki(KEY)),
            (RAW, base64.b64encode(b"x" * 70).decode(), "1700000000", spki(KEY)),
            (RAW, signature(), "1700000000", spki(ec.generate_private_key(ec.SECP256R1()))),
            (RAW, signature(), "1700000000", "nonsense"),
        ],
        ids=[
            "another body",
            "another time",
            "no time",
            "no signature",
            "empty",
            "no base64",
            "no signature at all",
            "another key",
            "no key",
        ],
    )
    def test_refuses_everything_else_in_the_same_words(self, raw: bytes, sent: str | None, timestamp: str | None, key: str) -> None:
        with pytest.raises(WebhookRefused):
            verify(raw, sent, timestamp, key)


def event(**fields: Any) -> dict[str, Any]:
    ours = {"vantage_message": str(UUID(int=1)), "vantage_effect": str(UUID(int=2))}
    return {"event": "delivered", "timestamp": 1700000000, "sg_message_id": "abc.filter", "sg_event_id": "e1", **ours, **fields}


class TestRead:
    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({"event": "processed"}, MessageStatus.SENT),
            ({"event": "delivered"}, MessageStatus.DELIVERED),
            ({"event": "deferred"}, MessageStatus.DEFERRED),
            ({"event": "bounce", "type": "bounce"}, MessageStatus.BOUNCED),
            ({"event": "bounce", "type": "blocked"}, MessageStatus.DEFERRED),
            ({"event": "dropped"}, MessageStatus.DROPPED),
            ({"event": "open"}, MessageStatus.OPENED),
            ({"event": "spamreport"}, MessageStatus.COMPLAINED),
            ({"event": "group_unsubscribe"}, MessageStatus.UNSUBSCRIBED),
        ],
    )
    def test_says_their_events_in_our_words(self, fields: dict[str, Any], status: MessageStatus) -> None:
        (report,) = read(json.dumps([event(**fields)]).encode())
        assert (report.status, report.message_id, report.effect_key) == (status, UUID(int=1), UUID(int=2))

    def test_knows_a_redelivery_by_its_facts_and_not_by_its_id(self) -> None:
        first, again, later = read(json.dumps([event(), event(sg_event_id="e2"), event(timestamp=1700000009)]).encode())
        assert first.key == again.key != later.key

    @pytest.mark.parametrize(
        "fields",
        [
            {"event": "group_resubscribe"}, {"event": None}, {"vantage_message": None}, {"vantage_message": 17}, {"vantage_effect": "x"},
            {"timestamp": None}, {"timestamp": "soon"}, {"timestamp": 10**18}, {"timestamp": -(10**18)}, {"timestamp": 10**30},
        ],
    )  # fmt: skip
    def test_passes_over_what_is_not_ours_or_makes_no_sense(self, fields: dict[str, Any]) -> None:
        assert len(read(json.dumps([event(**fields), event(), "x", 17, None]).encode())) == 1

    def test_keeps_only_what_the_database_can_hold(self) -> None:
        (report,) = read(json.dumps([event(sg_message_id="a\x00b" * 300, status="5.1.1\x00 unknown user at this host")]).encode())
        assert (len(report.provider_message_id), "\x00" in report.provider_message_id) == (200, False)
        assert report.reason_code == "5.1.1 unknown user a"

    @pytest.mark.parametrize("raw", [b"", b"{", b"{}", b'"x"', b"\xff"])
    def test_refuses_what_is_no_list_of_events(self, raw: bytes) -> None:
        with pytest.raises(WebhookMalformed):
            read(raw)
