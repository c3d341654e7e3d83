"""Who handles what: the registrations of one service, and the order in which a batch meets its handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from libs.common.messaging.received import Received
from libs.common.work import Tx
from libs.contracts.envelope import Message

M = TypeVar("M", bound=Message)
OneHandler = Callable[[Received[Any], Tx], Awaitable[None]]
BatchHandler = Callable[[list[Received[Any]], Tx], Awaitable[None]]


@dataclass(frozen=True, eq=False)
class Handler:
    """A registered function, seen as a batch handler."""

    run: BatchHandler
    name: str


class Consumer:
    """The handlers of one service. One handler per type; registering a second one is a mistake and says so."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._handlers: dict[str, Handler] = {}
        self._everything: Handler | None = None
        self.before: BatchHandler | None = None

    @property
    def takes_everything(self) -> bool:
        """Every message goes to one handler, undecoded and without an inbox mark: it keeps its own."""
        return self._everything is not None

    def on(self, *types: type[Message]) -> Callable[[OneHandler], OneHandler]:
        """Register a function called once per message, inside the batch's transaction, causes already set."""

        def register(handler: OneHandler) -> OneHandler:
            async def run(events: list[Received[Any]], tx: Tx) -> None:
                for event in events:
                    tx.serve(event)
                    await handler(event, tx)

            self._register(types, Handler(run, handler.__name__))
            return handler

        return register

    def on_batch(self, *types: type[Message]) -> Callable[[BatchHandler], BatchHandler]:
        """Register a function called with all messages of these types in a batch, in order per subject.

        If it raises, the batch is split and it is called again with less: it must not keep state between calls.
        """

        def register(handler: BatchHandler) -> BatchHandler:
            self._register(types, Handler(handler, handler.__name__))
            return handler

        return register

    def first(self, handler: BatchHandler) -> BatchHandler:
        """Register what happens to a whole batch, in its transaction, before any handler sees a part of it."""
        self.before = handler
        return handler

    def on_everything(self) -> Callable[[BatchHandler], BatchHandler]:
        """Register the one function that takes every message of every topic; once by its own means."""

        def register(handler: BatchHandler) -> BatchHandler:
            if self._handlers or self._everything:
                message = f"{self.service}: a consumer of everything has no other handlers"
                raise ValueError(message)
            self._everything = Handler(handler, handler.__name__)
            return handler

        return register

    def _register(self, types: Sequence[type[Message]], handler: Handler) -> None:
        for message_type in types:
            if message_type.type in self._handlers or self._everything:
                message = f"{self.service}: {message_type.type} has a handler already"
                raise ValueError(message)
            self._handlers[message_type.type] = handler

    def handler_of(self, message_type: str) -> Handler | None:
        return self._everything or self._handlers.get(message_type)

    def waves(self, events: Sequence[Received[Any]]) -> list[tuple[Handler, list[Received[Any]]]]:
        """Group a batch so that few handler calls happen and each subject still sees its messages in order.

        Two messages of one subject with different handlers fall into different waves; within a wave the handlers
        see disjoint subjects, so their order does not matter.
        """
        last: dict[tuple[object, str], tuple[int, Handler]] = {}
        groups: dict[tuple[int, int], tuple[Handler, list[Received[Any]]]] = {}
        for event in events:
            handler = self.handler_of(event.type)
            if handler is None:
                continue
            key = (event.practice_id, event.subject)
            wave, previous = last.get(key, (0, handler))
            if previous is not handler:
                wave += 1
            last[key] = (wave, handler)
            groups.setdefault((wave, id(handler)), (handler, []))[1].append(event)
        return [groups[key] for key in sorted(groups, key=lambda key: key[0])]
