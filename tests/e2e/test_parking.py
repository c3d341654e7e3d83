"""A malformed message on any topic is put aside; everything else flows; an operator brings it back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from deploy.demo.journey import Practice, book, set_up
from libs.contracts.envelope import MESSAGES
from libs.contracts.registry import OWNERS
from libs.contracts.topics import TOPICS, Topic, topic_of
from libs.testing.probe import until
from libs.testing.stack import Stack
from tests.e2e.booking import ONE_MAIL, mails_to

EXAMPLES = Path(__file__).resolve().parents[2] / "libs" / "contracts" / "examples"
assert OWNERS


@pytest.fixture(scope="module")
def practice(stack: Stack) -> Practice:
    return set_up(stack.client, stack.state, workflow=ONE_MAIL)


def produce(stack: Stack, topic: str, practice_id: str, message_type: str, subject: str, value: bytes) -> None:
    """Straight into Kafka, as no outbox would write it."""
    headers = {
        "ce_specversion": "1.0", "ce_id": str(uuid4()), "ce_type": message_type, "ce_source": "/test", "ce_subject": subject,
        "ce_time": "2026-11-24T10:00:00Z", "ce_partitionkey": practice_id, "correlation_id": "test", "content-type": "application/json",
    }  # fmt: skip

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{stack.state.ports['kafka']}")
        await producer.start()
        try:
            raw = [(name, text.encode()) for name, text in headers.items()]
            await producer.send_and_wait(topic, value, key=practice_id.encode(), headers=raw)
        finally:
            await producer.stop()

    asyncio.run(send())


def handled_type(topic: Topic, reader: str) -> str:
    """A type of the topic that the reader handles, by what its own tests and the switchboard say."""
    preferred = {
        "vantage.practices.events": "vantage.practices.member-access-changed.v1",
        "vantage.patients.events": "vantage.patients.patient-updated.v1",
        "vantage.scheduling.events": "vantage.scheduling.appointment-confirmed.v1",
        "vantage.workflows.events": "vantage.workflows.run-started.v1",
        "vantage.notifications.events": "vantage.notifications.email-status-changed.v1",
        "vantage.patients.commands": "vantage.patients.perform-action.v1",
        "vantage.scheduling.commands": "vantage.scheduling.perform-action.v1",
        "vantage.workflows.commands": "vantage.workflows.perform-action.v1",
        "vantage.notifications.commands": "vantage.notifications.perform-action.v1",
        "vantage.workflows.catalogue": "vantage.workflows.action-described.v1",
    }
    found = preferred[topic.name]
    assert topic_of(MESSAGES[found]) == topic, reader
    return found


@pytest.mark.parametrize("topic", [topic for topic in TOPICS if topic.readers != ("audit",)], ids=lambda topic: topic.name)
class TestAMalformedMessage:
    def test_is_parked_delays_nothing_and_is_redriven(self, stack: Stack, practice: Practice, topic: Topic, tmp_path: Path) -> None:
        reader = next(reader for reader in topic.readers if reader != "audit")
        message_type = handled_type(topic, reader)
        example = json.loads((EXAMPLES / f"{message_type}.json").read_text())
        message = MESSAGES[message_type].model_validate(example["value"])
        if topic.kind == "command":  # a request nobody can fulfil is answered, not parked; the answer is about a run nobody knows
            message = message.model_copy(update={"action": "juggle", "effect_key": uuid4()})
        subject = message.subject
        before = mails_to(stack, [practice.patient_email]).total()
        produce(stack, topic.name, practice.id, message_type, subject, b'{"broken": ')
        book(stack.client, stack.state, practice)
        stack.client.until("the e-mail of the next booking", lambda: mails_to(stack, [practice.patient_email]).total() == before + 1)
        query = f"SELECT id, code FROM {reader}.parked WHERE practice_id = %s AND subject = %s AND state = 'parked'"
        rows = until(lambda: stack.sql(query, practice.id, subject), what="the parked message")
        assert rows[0][1].startswith("malformed_data: ")
        listed = stack.command(reader, "parked", "list")
        assert str(rows[0][0]) in listed.stdout

        again = stack.command(reader, "parked", "redrive", practice.id, subject)
        assert again.returncode == 1, "redriven as it is, it is as malformed as before"
        corrected = tmp_path / "corrected.json"
        corrected.write_text(message.model_dump_json())
        fixed = stack.command(
            reader, "parked", "correct", practice.id, str(rows[0][0]), "--value", str(corrected), "--note", "sender's bug"
        )
        assert fixed.returncode == 0, fixed.stdout + fixed.stderr
        state = stack.sql(f"SELECT state, note FROM {reader}.parked WHERE practice_id = %s AND id = %s", practice.id, rows[0][0])
        assert state[0][0] == "redriven", fixed.stdout + str(stack.sql(f"SELECT code FROM {reader}.parked WHERE id = %s", rows[0][0]))
