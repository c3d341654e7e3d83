"""Notifications over HTTP: settings that keep their secret, messages, and reports only SendGrid can make."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from libs.common.actions.outcomes import Attempt
from libs.contracts.actions import Outcome
from libs.contracts.envelope import Message
from libs.contracts.notifications import ActionFinished, EmailStatusChanged, MessageStatus
from libs.testing.fixtures import incoming
from services.notifications.rules.mail import ProviderAnswer
from services.notifications.tests.provider import API_KEY, SETTINGS
from services.notifications.tests.test_adapters import KEY
from services.notifications.tests.test_rules import spki
from services.notifications.tests.test_send import House, house, patient, registered, send

__all__ = ["house", "patient"]

Headers = dict[str, str]
Outbox = Callable[[UUID], Awaitable[list[Message]]]
BODY = {**SETTINGS, "webhook_key": spki(KEY)}


class TestSettings:
    async def test_are_kept_and_never_show_the_key(
        self, client: httpx.AsyncClient, as_admin: Headers, as_user: Headers, practice: UUID
    ) -> None:
        put = await client.put("/v1/email-settings", json=BODY, headers=as_admin)
        shown = await client.get("/v1/email-settings", headers=as_user)
        assert (put.status_code, shown.json()) == (200, put.json())
        assert shown.json()["webhook_path"] == f"/webhooks/sendgrid/{practice}"
        assert API_KEY not in put.text + shown.text

    async def test_lie_sealed_in_the_database(self, client: httpx.AsyncClient, as_admin: Headers, practice: UUID, house: House) -> None:
        await client.put("/v1/email-settings", json=BODY, headers=as_admin)
        row = house.superuser.execute("SELECT api_key FROM notifications.email_settings WHERE practice_id = %s", [practice]).fetchone()
        assert row is not None
        assert API_KEY.encode() not in row[0]

    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            ({"api_key": "short"}, "/api_key"),
            ({"api_key": "SG.key-with\r\nX-Header: 1"}, "/api_key"),
            ({"sender_email": "intake"}, "/sender_email"),
            ({"sender_name": ""}, "/sender_name"),
            ({"webhook_key": "A" * 100}, "/webhook_key"),
            ({"webhook_key": spki(ec.generate_private_key(ec.SECP384R1()))}, "/webhook_key"),
            ({"host": "elsewhere.example"}, "/host"),
        ],
        ids=["short key", "header in the key", "no address", "no name", "no webhook key", "another curve", "unknown field"],
    )
    async def test_point_at_what_is_wrong_and_repeat_nothing(
        self, fields: dict[str, Any], pointer: str, client: httpx.AsyncClient, as_admin: Headers
    ) -> None:
        answer = await client.put("/v1/email-settings", json={**BODY, **fields}, headers=as_admin)
        assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (422, [pointer])
        assert API_KEY not in answer.text

    async def test_are_for_admins_to_change_and_absent_at_first(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        assert (await client.put("/v1/email-settings", json=BODY, headers=as_user)).status_code == 403
        answer = await client.get("/v1/email-settings", headers=as_user)
        assert (answer.status_code, answer.json()["code"]) == (404, "email_not_configured")


class TestMessages:
    async def test_are_listed_newest_first_and_found_by_patient_and_status(
        self, house: House, patient: UUID, practice: UUID, client: httpx.AsyncClient, as_user: Headers
    ) -> None:
        house.mailer.answers = [ProviderAnswer(Attempt.REFUSED, code="provider_status_400")]
        for request in (send(patient, subject="one"), send(patient, subject="two"), send(patient, subject="three")):
            await house.hear(incoming(request, practice))
            await house.quiet()
        page = (await client.get("/v1/messages", params={"limit": 2}, headers=as_user)).json()
        rest = (await client.get("/v1/messages", params={"limit": 2, "cursor": page["next_cursor"]}, headers=as_user)).json()
        assert [item["subject"] for item in page["items"] + rest["items"]] == ["three", "two", "one"]
        failed = (await client.get("/v1/messages", params={"status": "failed"}, headers=as_user)).json()["items"]
        assert [(item["subject"], item["error_code"], item["effect_state"]) for item in failed] == [
            ("one", "provider_status_400", "failed")
        ]
        nobody = (await client.get("/v1/messages", params={"patient_id": str(uuid4())}, headers=as_user)).json()
        assert nobody["items"] == []
        assert (await client.get(f"/v1/messages/{failed[0]['id']}", headers=as_user)).json() == failed[0]

    async def test_do_not_show_their_text(
        self, house: House, patient: UUID, practice: UUID, client: httpx.AsyncClient, as_user: Headers
    ) -> None:
        await house.hear(incoming(send(patient, text="the diagnosis"), practice))
        await house.quiet()
        assert "the diagnosis" not in (await client.get("/v1/messages", headers=as_user)).text


class Webhook:
    """SendGrid's side of the webhook."""

    def __init__(self, client: httpx.AsyncClient, practice: UUID) -> None:
        self._client = client
        self._path = f"/webhooks/sendgrid/{practice}"

    async def post(self, raw: bytes, key: ec.EllipticCurvePrivateKey = KEY, timestamp: str = "1700000000") -> httpx.Response:
        signature = base64.b64encode(key.sign(timestamp.encode() + raw, ec.ECDSA(hashes.SHA256()))).decode()
        headers = {
            "x-twilio-email-event-webhook-signature": signature,
            "x-twilio-email-event-webhook-timestamp": timestamp,
            "content-type": "application/json;charset=utf-8",
        }
        return await self._client.post(self._path, content=raw, headers=headers)

    async def report(self, *events: dict[str, Any]) -> int:
        return (await self.post(json.dumps(events).encode() + b"\r\n")).status_code


@pytest.fixture
def webhook(client: httpx.AsyncClient, practice: UUID) -> Webhook:
    return Webhook(client, practice)


class TestReports:
    @pytest.fixture
    async def ids(self, house: House, patient: UUID, practice: UUID) -> dict[str, str]:
        """The custom arguments of an e-mail that was accepted."""
        await house.hear(incoming(send(patient), practice))
        await house.quiet()
        return arguments(house)

    async def test_change_the_status_and_say_it(
        self, ids: dict[str, str], webhook: Webhook, practice: UUID, outbox: Outbox, client: httpx.AsyncClient, as_user: Headers
    ) -> None:
        assert await webhook.report(event("processed", ids), event("delivered", ids, 1700000005)) == 204
        said = [message for message in await outbox(practice) if isinstance(message, EmailStatusChanged)]
        assert [message.status for message in said] == [MessageStatus.DELIVERED]
        assert (await client.get(f"/v1/messages/{ids['vantage_message']}", headers=as_user)).json()["status"] == "delivered"

    async def test_count_once_and_take_nothing_back_in_whatever_order(
        self, ids: dict[str, str], webhook: Webhook, practice: UUID, outbox: Outbox
    ) -> None:
        late = [event("open", ids, 1700000009), event("delivered", ids, 1700000005), event("processed", ids)]
        for one in [*late, *late]:
            assert await webhook.report({**one, "sg_event_id": str(uuid4())}) == 204
        said = [message for message in await outbox(practice) if isinstance(message, EmailStatusChanged)]
        assert [message.status for message in said] == [MessageStatus.OPENED]

    async def test_at_the_same_time_as_each_other_are_all_taken(
        self, ids: dict[str, str], webhook: Webhook, practice: UUID, outbox: Outbox
    ) -> None:
        kinds = ("processed", "delivered", "open", "click", "unsubscribe")
        statuses = await asyncio.gather(*(webhook.report(event(kind, ids, 1700000000 + at)) for at, kind in enumerate(kinds)))
        assert set(statuses) == {204}
        said = [message for message in await outbox(practice) if isinstance(message, EmailStatusChanged)]
        assert said[-1].status is MessageStatus.UNSUBSCRIBED

    async def test_end_the_doubt_about_an_unknown_mail(
        self, house: House, patient: UUID, practice: UUID, webhook: Webhook, outbox: Outbox
    ) -> None:
        house.mailer.answers = [ProviderAnswer(Attempt.LOST, code="provider_answer_lost")]
        await house.hear(incoming(send(patient), practice))
        await house.quiet()
        assert await webhook.report(event("delivered", arguments(house))) == 204
        finished = [message.outcome for message in await outbox(practice) if isinstance(message, ActionFinished)]
        assert finished == [Outcome.UNKNOWN, Outcome.SUCCEEDED]
        house.due(practice)
        await house.recover()
        await house.quiet()
        assert len(house.mailer.given) == 1

    async def test_about_mails_of_another_practice_or_none_are_passed_over(
        self, house: House, patient: UUID, webhook: Webhook, practice: UUID, outbox: Outbox
    ) -> None:
        stranger = uuid4()
        known = registered()
        await house.hear(incoming(known, stranger))
        await house.hear(incoming(send(known.patient_id), stranger))
        unknown = {"vantage_message": str(uuid4()), "vantage_effect": str(uuid4())}
        row = house.superuser.execute("SELECT id, effect_key FROM notifications.message WHERE practice_id = %s", [stranger]).fetchone()
        assert row is not None
        theirs = {"vantage_message": str(row[0]), "vantage_effect": str(row[1])}
        assert await webhook.report(event("delivered", unknown), event("delivered", theirs), {"event": "delivered"}) == 204
        assert [message for message in await outbox(practice) if isinstance(message, EmailStatusChanged)] == []
        assert [message for message in await outbox(stranger) if isinstance(message, EmailStatusChanged)] == []

    async def test_that_sendgrid_did_not_sign_are_refused_like_those_of_an_unknown_practice(
        self, ids: dict[str, str], webhook: Webhook, client: httpx.AsyncClient, practice: UUID, outbox: Outbox
    ) -> None:
        raw = json.dumps([event("delivered", ids)]).encode()
        forged = await webhook.post(raw, key=ec.generate_private_key(ec.SECP256R1()))
        unknown = await Webhook(client, uuid4()).post(raw)
        unsigned = await client.post(f"/webhooks/sendgrid/{practice}", content=raw)
        for answer in (forged, unknown, unsigned):
            assert (answer.status_code, answer.json()["code"]) == (401, "webhook_refused")
        assert [message for message in await outbox(practice) if isinstance(message, EmailStatusChanged)] == []

    @pytest.mark.parametrize("raw", [b"", b"{", b"{}"])
    async def test_that_are_no_list_are_refused(self, raw: bytes, ids: dict[str, str], webhook: Webhook) -> None:
        answer = await webhook.post(raw)
        assert (answer.status_code, answer.json()["code"]) == (422, "webhook_malformed")


def arguments(house: House) -> dict[str, str]:
    mail = house.mailer.given[-1]
    return {"vantage_message": str(mail.message_id), "vantage_effect": str(mail.effect_key)}


def event(kind: str, ids: dict[str, str], timestamp: int = 1700000000) -> dict[str, Any]:
    return {"event": kind, "timestamp": timestamp, "sg_message_id": "abc", "sg_event_id": "e", **ids}
