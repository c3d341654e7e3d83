"""Calls from outside: signed, once per id, and nothing to be learnt by whoever cannot sign."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.work import Work
from libs.contracts.workflows import WebhookReceived
from services.workflows.rules.signatures import SignatureInvalid, check_signature
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import Visit, send, wait

Headers = dict[str, str]
Client = httpx.AsyncClient
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"source": "website", "answers": [1, 2]}'


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    return driver


def called(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"trigger": {"kind": "webhook"}, "steps": list(steps or (wait(),)), **more}


def signed(secret: str, body: bytes, webhook_id: str = "msg_1", at: datetime | None = None) -> Headers:
    timestamp = str(int((at or datetime.now(UTC)).timestamp()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": webhook_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{base64.b64encode(mac).decode()}"}


async def secret_of(client: Client, workflow: UUID, headers: Headers, overlap_hours: int = 24) -> tuple[str, str]:
    answer = await client.post(f"/v1/workflows/{workflow}/webhook-secret", json={"overlap_hours": overlap_hours}, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()["path"], answer.json()["secret"]


class TestSignatures:
    def test_the_published_vector_is_understood(self) -> None:
        headers = {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        }  # fmt: skip
        assert check_signature(headers, b'{"test": 2432232314}', [SECRET], 1614265330.0) == "msg_p5jXN8AQM9LWM0D4loKWxJek"

    @pytest.mark.parametrize(
        "changed",
        [
            {"webhook-id": ""}, {"webhook-id": "other"}, {"webhook-id": "x" * 201}, {"webhook-timestamp": "yesterday"},
            {"webhook-timestamp": "-1"}, {"webhook-timestamp": "9" * 13}, {"webhook-signature": ""}, {"webhook-signature": "v1,"},
            {"webhook-signature": "v2,AAAA"}, {"webhook-signature": "v1,ÄÖÜ"}, {"webhook-signature": "x" * 2001},
        ],
    )  # fmt: skip
    def test_everything_else_is_none(self, changed: Headers) -> None:
        now = datetime.now(UTC)
        with pytest.raises(SignatureInvalid):
            check_signature(signed(SECRET, BODY, at=now) | changed, BODY, [SECRET], now.timestamp())

    def test_an_old_one_counts_no_more(self) -> None:
        now = datetime.now(UTC)
        with pytest.raises(SignatureInvalid):
            check_signature(signed(SECRET, BODY, at=now - timedelta(seconds=301)), BODY, [SECRET], now.timestamp())


class TestCalling:
    async def test_a_call_starts_one_run_however_often_it_is_sent(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        step = send(text="From {{ event.body.source }}: {{ event.body.answers[1] }}")
        workflow = await engine.publish(called(step, condition="event.body.source == 'website'"))
        path, secret = await secret_of(client, workflow, as_admin)
        for _ in range(3):
            assert (await client.post(path, content=BODY, headers=signed(secret, BODY))).status_code == 204
        (request,) = await engine.requests()
        assert request.parameters["text"] == "From website: 2"
        assert (await client.post(path, content=BODY, headers=signed(secret, BODY, "msg_2"))).status_code == 204
        assert len(await engine.runs()) == len(await engine.said(WebhookReceived)) == 2

    async def test_a_body_may_name_a_patient_of_the_practice(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        workflow = await engine.publish(called(send(text="Dear {{ patient.given_name }}")))
        path, secret = await secret_of(client, workflow, as_admin)
        visit = Visit()
        await engine.deliver(visit.registered())
        for named, status in ((str(visit.patient_id), 204), (str(uuid4()), 422), ("nobody", 422), (7, 422)):
            body = json.dumps({"patient_id": named}).encode()
            answer = await client.post(path, content=body, headers=signed(secret, body, f"msg {named}"))
            assert answer.status_code == status, answer.text
        assert [request.patient_id for request in await engine.requests()] == [visit.patient_id]

    async def test_whoever_cannot_sign_learns_nothing(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        workflow, other = await engine.publish(called()), await engine.publish(called())
        path, secret = await secret_of(client, workflow, as_admin)
        _, others = await secret_of(client, other, as_admin)
        nowhere = f"/webhooks/workflows/{uuid4()}/{uuid4()}"
        tries = [
            (path, {}), (path, signed(others, BODY)), (path, signed(secret, BODY + b" ")), (nowhere, signed(secret, BODY)),
            (path.replace(str(workflow), str(uuid4())), signed(secret, BODY)),
            (path.replace(str(engine.practice), str(uuid4())), signed(secret, BODY)),
        ]  # fmt: skip
        answers = [await client.post(where, content=BODY, headers=sent) for where, sent in tries]
        assert {(answer.status_code, answer.json()["code"], answer.json()["title"]) for answer in answers} == {
            (404, "webhook_unknown", answers[0].json()["title"])
        }
        await engine.unpublish(workflow)
        assert (await client.post(path, content=BODY, headers=signed(secret, BODY))).json()["code"] == "webhook_unknown"
        assert await engine.runs() == []

    @pytest.mark.parametrize(
        ("body", "status"), [(b"[]", 422), (b"", 400), (b"{", 400), (b"null", 422), (b'{"x": "' + b"y" * 70_000 + b'"}', 413)]
    )
    async def test_a_body_that_is_none_is_refused(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers, body: bytes, status: int
    ) -> None:
        workflow = await engine.publish(called())
        path, secret = await secret_of(client, workflow, as_admin)
        answer = await client.post(path, content=body, headers=signed(secret, body))
        assert answer.status_code == status, answer.text
        assert (await client.post(path, content=BODY, headers=signed(secret, BODY))).status_code == 204

    async def test_a_suspended_practice_is_called_again_later(self, client: Client, engine: BuiltinDriver, as_admin: Headers) -> None:
        workflow = await engine.publish(called())
        path, secret = await secret_of(client, workflow, as_admin)
        await engine.suspend()
        held = await client.post(path, content=BODY, headers=signed(secret, BODY))
        assert (held.status_code, held.headers["retry-after"]) == (503, "300")
        await engine.suspend(suspended=False)
        assert (await client.post(path, content=BODY, headers=signed(secret, BODY))).status_code == 204
        assert len(await engine.runs()) == 1


class TestSecrets:
    async def test_a_rotated_secret_counts_beside_the_new_one_for_a_while(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers, as_user: Headers
    ) -> None:
        workflow = await engine.publish(called())
        path, first = await secret_of(client, workflow, as_admin)
        _, second = await secret_of(client, workflow, as_admin)
        shown = (await client.get(f"/v1/workflows/{workflow}/webhook-secret", headers=as_user)).json()
        assert (shown["has_secret"], shown["secret"], shown["previous_until"] is not None) == (True, None, True)
        for number, secret in enumerate((first, second)):
            assert (await client.post(path, content=BODY, headers=signed(secret, BODY, f"both {number}"))).status_code == 204
        _, third = await secret_of(client, workflow, as_admin, overlap_hours=0)
        answers = [
            (await client.post(path, content=BODY, headers=signed(secret, BODY, f"one {number}"))).status_code
            for number, secret in enumerate((first, second, third))
        ]
        assert answers == [404, 404, 204]

    async def test_a_secret_is_never_kept_readable_and_can_be_taken_away(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        workflow = await engine.publish(called())
        keyed = as_admin | {"Idempotency-Key": str(uuid4())}
        path, secret = await secret_of(client, workflow, keyed)
        async with engine.work(engine.admin) as tx:
            kept = await tx.value("SELECT secret FROM webhook_secret WHERE practice_id = $1", engine.practice)
        assert secret.encode() not in kept
        for _ in range(2):
            assert (await client.delete(f"/v1/workflows/{workflow}/webhook-secret", headers=as_admin)).status_code == 204
        assert (await client.post(path, content=BODY, headers=signed(secret, BODY))).status_code == 404
