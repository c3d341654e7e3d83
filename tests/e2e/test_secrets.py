"""Secrets planted through the doors are found nowhere they do not belong: database, logs, topics, traces, answers."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import subprocess
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.demo.journey import Practice, book, set_up
from deploy.native.postgres import binaries
from libs.contracts.topics import TOPICS
from libs.testing.stack import Stack
from tests.e2e.booking import ONE_MAIL, mails_to


def spellings(secret: str) -> Iterator[bytes]:
    """A secret as it might stand somewhere."""
    raw = secret.encode()
    yield raw
    yield raw.hex().encode()
    yield base64.b64encode(raw).rstrip(b"=")[:-1]
    yield base64.urlsafe_b64encode(raw).rstrip(b"=")[:-1]


@pytest.fixture(scope="module")
def planted(stack: Stack) -> dict[str, str]:
    """Secrets of every kind, each used the way it is meant to be, on the way of a booking and of a key."""
    practice: Practice = set_up(stack.client, stack.state, workflow=ONE_MAIL)
    client, admin = stack.client, practice.admin
    calcom, calcom_key, sendgrid = secrets.token_urlsafe(30), f"cal_live_{secrets.token_hex(16)}", f"SG.{secrets.token_urlsafe(30)}"
    client.call("PUT", "/v1/calcom-settings", admin, {"webhook_secret": calcom, "api_key": calcom_key})
    settings = {"sender_email": "desk@practice.example", "sender_name": "Desk"}
    webhook_key = client.simulator("sendgrid", "GET", "public_key")["public_key"]
    client.call("PUT", "/v1/email-settings", admin, {**settings, "api_key": sendgrid, "webhook_key": webhook_key})
    idempotent = {"Idempotency-Key": secrets.token_urlsafe(20)}
    made = client.ask("POST", "/v1/api-keys", admin, {"name": "Planted", "scopes": ["patients:read"]}, headers=idempotent).json()
    assert client.ask("GET", "/v1/patients", made["key"]).status_code == 200
    # In the query string: the careless way, which must not be remembered either.
    client.ask("GET", "/v1/patients", admin, params={"api_key": made["key"], "access_token": admin})
    endpoint = {"url": f"{stack.state.http('calcom')}/hook", "event_types": ["appointment.booked"]}
    signing = client.call("PUT", "/v1/webhook-endpoint", admin, endpoint).json()["secret"]
    ready = Practice(**{**practice.__dict__, "calcom_secret": calcom})
    book(client, stack.state, ready)
    client.until("the e-mail", lambda: mails_to(stack, [practice.patient_email]).total() == 1)
    stack.drained()
    found = {
        "API key": made["key"], "SendGrid key": sendgrid, "Cal.com secret": calcom, "Cal.com key": calcom_key, "password": practice.person.password, "access token": admin,
        "webhook secret": signing.removeprefix("whsec_"), "hook secret": stack.state.secrets["hook_secrets"].removeprefix("v1,whsec_"),
        "gateway proof": stack.state.secrets["gateway_proof"], "secrets key": stack.state.secrets["secrets_keys"].partition(":")[2],
        "service role's token": stack.state.secrets["auth_service_key"],
    }  # fmt: skip
    assert all(len(secret) >= 20 for secret in found.values()), [name for name, secret in found.items() if len(secret) < 20]
    return found


def finds(planted: dict[str, str], *texts: bytes) -> list[str]:
    """Names of the secrets that stand in one of these texts."""
    return sorted({name for name, secret in planted.items() for text in texts for one in spellings(secret) if one in text})


def test_the_scan_would_see_one(planted: dict[str, str]) -> None:
    key = planted["API key"]
    for text in (f"key={key};", key.encode().hex(), base64.b64encode(key.encode()).decode()):
        assert finds(planted, text.encode()) == ["API key"]


def test_none_is_in_a_dump_of_the_database(stack: Stack, planted: dict[str, str]) -> None:
    command = [str(binaries() / "pg_dump"), "--dbname", stack.state.url("postgres")]
    dump = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout
    assert len(dump) > 100_000
    assert finds(planted, dump) == []


def test_none_is_in_a_log(stack: Stack, planted: dict[str, str]) -> None:
    logs = {path.name: path.read_bytes() for path in stack.state.logs.iterdir() if path.is_file()}
    assert logs["gateway.log"]
    assert {name: found for name, text in logs.items() if (found := finds(planted, text))} == {}


def test_none_is_on_a_topic(stack: Stack, planted: dict[str, str]) -> None:
    async def everything() -> list[bytes]:
        consumer = AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{stack.state.ports['kafka']}", auto_offset_reset="earliest")
        await consumer.start()
        partitions = [TopicPartition(topic.name, number) for topic in TOPICS for number in range(topic.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        seen: list[bytes] = []
        await consumer.seek_to_beginning(*partitions)
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    seen += [record.key or b"", record.value or b"", *(value or b"" for _, value in record.headers)]
        await consumer.stop()
        return seen

    records = asyncio.run(everything())
    assert len(records) > 100
    assert finds(planted, b"\n".join(records)) == []


def test_none_is_in_a_trace(stack: Stack, planted: dict[str, str]) -> None:
    spans = repr(stack.collector._spans).encode()
    assert len(spans) > 10_000
    assert finds(planted, spans) == []
