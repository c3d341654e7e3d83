"""What goes to Temporal is sealed, and Temporal being away is no trouble of ours."""

from __future__ import annotations

import hashlib
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.client import Client
from temporalio.common import Priority
from temporalio.converter import DataConverter
from temporalio.service import RPCError, RPCStatusCode

from libs.common.secrets import SealBroken, SecretBox
from libs.testing.fixtures import SECRETS_KEYS
from services.workflows.adapters.temporal import AT_ONCE, ENCODING, RunsOnTemporal, SealedPayloads, Temporal, sealing
from services.workflows.rules.runs.orchestration import Called, RunRef
from services.workflows.tests.engine.temporal import Skipping
from services.workflows.tests.histories.scenes import ENDED, PRACTICE, Scene, Stage, for_

NEW_KEY = "new:" + hashlib.sha256(b"invented").hexdigest()


def box(*keys: str) -> SecretBox:
    return SecretBox.local(",".join(keys))


async def sealed(text: bytes, *keys: str) -> Payload:
    (payload,) = await SealedPayloads(box(*keys)).encode([Payload(metadata={"encoding": b"json/plain"}, data=text)])
    return payload


class TestSealing:
    async def test_hides_everything_but_the_name_of_the_key(self) -> None:
        payload = await sealed(b'"Kim Lorenz"', SECRETS_KEYS)
        assert dict(payload.metadata) == {"encoding": ENCODING, "key": b"test"}
        assert b"Kim" not in payload.SerializeToString()
        assert b"json" not in payload.SerializeToString()

    async def test_opens_what_it_sealed(self) -> None:
        (opened,) = await SealedPayloads(box(SECRETS_KEYS)).decode([await sealed(b"1", SECRETS_KEYS)])
        assert (opened.data, opened.metadata["encoding"]) == (b"1", b"json/plain")

    async def test_opens_what_was_sealed_before_the_keys_were_changed(self) -> None:
        before = await sealed(b"1", SECRETS_KEYS)
        codec = SealedPayloads(box(NEW_KEY, SECRETS_KEYS))
        (opened,) = await codec.decode([before])
        assert opened.data == b"1"
        assert (await sealed(b"1", NEW_KEY, SECRETS_KEYS)).metadata["key"] == b"new"

    async def test_refuses_what_is_under_another_key_or_altered(self) -> None:
        payload = await sealed(b"1", SECRETS_KEYS)
        with pytest.raises(SealBroken):
            await SealedPayloads(box(NEW_KEY)).decode([payload])
        altered = Payload(metadata=payload.metadata, data=payload.data[:-1] + bytes([payload.data[-1] ^ 1]))
        with pytest.raises(SealBroken):
            await SealedPayloads(box(SECRETS_KEYS)).decode([altered])

    async def test_carries_arguments_there_and_back(self) -> None:
        converter: DataConverter = sealing(box(SECRETS_KEYS))
        run = RunRef(str(uuid4()), str(uuid4()))
        payloads = await converter.encode([run])
        assert run.run_id.encode() not in payloads[0].SerializeToString()
        assert await converter.decode(payloads, [RunRef]) == [run]

    async def test_holds_for_what_went_wrong_too(self) -> None:
        failure = Failure()
        await sealing(box(SECRETS_KEYS)).encode_failure(ValueError("Kim Lorenz has no number"), failure)
        assert failure.message == "Encoded failure"
        assert b"Kim" not in failure.SerializeToString()

    async def test_holds_for_all_that_the_server_keeps_of_a_run(self, skipping_server: Skipping) -> None:
        """The server's own record of a run: only its workflow id names the run."""
        scene = Scene([for_(60), ENDED])
        (history,) = await Stage(skipping_server.environment).play(scene, 201)
        run = UUID(int=201, version=4)
        for event in history.events:
            event.workflow_execution_started_event_attributes.workflow_id = ""
            assert str(run).encode() not in event.SerializeToString()
            assert b"ended" not in event.SerializeToString()


class TestTakingTurns:
    async def test_a_run_stands_in_the_line_of_its_practice(self, monkeypatch: pytest.MonkeyPatch, skipping_server: Skipping) -> None:
        keys: list[str | None] = []

        async def start(*_: Any, priority: Priority, **__: Any) -> None:
            keys.append(priority.fairness_key)

        monkeypatch.setattr(Client, "start_workflow", start)
        called = [Called(practice, uuid4(), 1, bulk=False) for practice in (PRACTICE, UUID(int=7))]
        assert await RunsOnTemporal(skipping_server.connect).look(called) == called
        assert keys == [str(PRACTICE), str(UUID(int=7))]


class TestBeingAway:
    async def test_tells_nobody_and_raises_nothing(self) -> None:
        calls = 0

        async def nobody() -> Client:
            nonlocal calls
            calls += 1
            return await Temporal("127.0.0.1:1", "default", box(SECRETS_KEYS)).connect()

        orchestrator = RunsOnTemporal(nobody)
        called = [Called(PRACTICE, uuid4(), number, bulk=False) for number in range(50)]
        assert await orchestrator.look(called) == []
        assert calls == 1  # nobody asks for each of them


class TestTelling:
    async def test_goes_on_to_the_others_when_one_is_refused(self, skipping_server: Skipping) -> None:
        called = [Called(PRACTICE, UUID(int=300 + number, version=4), number, bulk=False) for number in range(2 * AT_ONCE)]
        refused = called[3]

        class Choosy(RunsOnTemporal):
            async def _look(self, client: Client, one: Called) -> None:
                if one == refused:
                    message = "history size exceeds limit"
                    raise RPCError(message, RPCStatusCode.INVALID_ARGUMENT, b"")
                await super()._look(client, one)

        told = await Choosy(skipping_server.connect).look(called)
        assert told == [one for one in called if one != refused]

    async def test_does_not_ask_for_all_the_others_when_nobody_answers_any(self) -> None:
        asked: list[Called] = []

        class Nobody(RunsOnTemporal):
            async def _look(self, _: Client, one: Called) -> None:
                asked.append(one)
                message = "connection refused"
                raise RPCError(message, RPCStatusCode.UNAVAILABLE, b"")

        async def connected() -> Client:
            return cast("Client", None)

        called = [Called(PRACTICE, uuid4(), number, bulk=False) for number in range(3 * AT_ONCE)]
        assert await Nobody(connected).look(called) == []
        assert asked == called[:AT_ONCE]
