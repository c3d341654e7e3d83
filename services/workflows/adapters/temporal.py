"""Temporal as a party outside: how it is reached, what it may keep, and how runs are told to look.

Everything that goes there is sealed with the service's keys: arguments, results, signals, failures. Workflow ids, types and task
queues are not, and hold ids only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec
from temporalio.service import RPCError, RPCStatusCode

from libs.common import metrics
from libs.common.logging import get_logger
from libs.common.secrets import SecretBox
from libs.contracts.envelope import PLATFORM
from services.workflows.rules.runs.orchestration import LOOK, WORKFLOW, Called

log = get_logger()

PURPOSE = "temporal"
ENCODING = b"binary/vantage-sealed"
AT_ONCE = 20
RPC_SECONDS = 5
NOBODY_THERE = {RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED}


class SealedPayloads(PayloadCodec):
    """AES-256-GCM under the service's keys; the key's id stands in the metadata. Keys that only open stay readable."""

    def __init__(self, box: SecretBox) -> None:
        self._box = box

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        metadata = {"encoding": ENCODING, "key": self._box.current.encode()}
        return [Payload(metadata=metadata, data=self._box.seal_bytes(PLATFORM, PURPOSE, one.SerializeToString())) for one in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises ``SealBroken``. What was not sealed comes back as it is."""
        return [self._opened(one) if one.metadata.get("encoding") == ENCODING else one for one in payloads]

    def _opened(self, payload: Payload) -> Payload:
        return Payload.FromString(self._box.open_bytes(PLATFORM, PURPOSE, payload.data))


def sealing(box: SecretBox) -> DataConverter:
    return replace(
        DataConverter.default, payload_codec=SealedPayloads(box), failure_converter_class=DefaultFailureConverterWithEncodedAttributes
    )


Connect = Callable[[], Awaitable[Client]]


class Temporal:
    """Where Temporal is. The first who needs it connects; from then on the connection mends itself."""

    def __init__(self, address: str, namespace: str, box: SecretBox) -> None:
        self._address = address
        self._namespace = namespace
        self._converter = sealing(box)
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def connect(self) -> Client:
        """Raises ``RuntimeError`` while nobody answers there."""
        async with self._connecting:
            if self._client is None:
                self._client = await Client.connect(self._address, namespace=self._namespace, data_converter=self._converter)
            return self._client


class RunsOnTemporal:
    """Tells runs to look: starts those that are not going, signals the others. Telling twice is harmless.

    Practices take turns in a queue where the server is told to let them (``matching.enableFairness``).
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._reached = True

    async def look(self, called: list[Called]) -> list[Called]:
        """Those that were told. While Temporal is away, none: they are told later. One that it refuses keeps no other from being told."""
        told: list[Called] = []
        try:
            client = await self._connect()
            for some in batched(called, AT_ONCE):
                told += await self._tell(client, some)
        except (RPCError, RuntimeError) as error:
            metrics.BACKOFFS.inc()
            if self._reached:
                log.warning("temporal.away", exc_info=error)
            self._reached = False
        else:
            self._reached = True
        return told

    async def _tell(self, client: Client, some: list[Called]) -> list[Called]:
        """Raises ``RPCError`` when nobody there answers any of them."""
        found = await asyncio.gather(*(self._look(client, one) for one in some), return_exceptions=True)
        errors = {one: error for one, error in zip(some, found, strict=True) if isinstance(error, BaseException)}
        silent = [error for error in errors.values() if isinstance(error, RPCError) and error.status in NOBODY_THERE]
        if len(silent) == len(some):
            raise silent[0]
        for one, error in errors.items():
            metrics.BACKOFFS.inc()
            log.warning("temporal.refused", run_id=str(one.run_id), exc_info=error)
        return [one for one in some if one not in errors]

    async def _look(self, client: Client, one: Called) -> None:
        await client.start_workflow(
            WORKFLOW, one.ref, id=one.workflow_id, task_queue=one.queue, start_signal=LOOK,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE, id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            priority=Priority(fairness_key=str(one.practice_id)),
            rpc_timeout=timedelta(seconds=RPC_SECONDS),
        )  # fmt: skip


def batched(called: list[Called], size: int) -> Iterator[list[Called]]:
    return (called[start : start + size] for start in range(0, len(called), size))
