"""What one action is: how it is described, what it takes, and the function that performs it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from pydantic import BaseModel

from libs.common.errors import Trouble
from libs.common.messaging import Received
from libs.common.telemetry import Cause
from libs.common.work import Tx
from libs.contracts.actions import ActionDescribed, ActionError, ActionRequest, Outcome

Handler = Callable[..., Awaitable[BaseModel]]
Lookup = Callable[..., Awaitable[BaseModel | None]]
Inside = Callable[..., Awaitable[BaseModel | None]]


@dataclass(frozen=True)
class Effect:
    """One action of one run. ``key`` is the same however often it is tried: hand it on to whoever can tell repeats by it.

    ``loaded`` is what the plug-in's books read when this effect was claimed.
    """

    practice_id: UUID
    key: UUID
    request: ActionRequest
    attempts: int = 1
    traceparent: str = ""
    loaded: Any = None


@dataclass(eq=False)
class Request:
    """A request being planned: ``refused`` says why it will not be performed."""

    event: Received[Any]
    parameters: Any
    refused: Trouble | None = None


@dataclass(frozen=True)
class Settled:
    """What one try of an effect came to. ``outcome`` is None when it will be tried again."""

    effect: Effect
    cause: Cause
    outcome: Outcome | None
    result: dict[str, Any] = field(default_factory=dict)
    error: ActionError | None = None


class Books(Protocol):
    """What an owner keeps beside effects that leave the house, in the same transactions and a batch at a time. Optional.

    ``plan`` may mark requests as refused. ``claim`` returns, by practice and effect key, what the handler and the look-up
    find as ``effect.loaded``; a ``Trouble`` there is raised in their place. ``record`` writes what became of effects.
    """

    async def plan(self, requests: Sequence[Request], tx: Tx) -> None: ...

    async def claim(self, effects: Sequence[Effect], tx: Tx) -> Mapping[tuple[UUID, UUID], Any]: ...

    async def record(self, settled: Sequence[Settled], tx: Tx) -> None: ...


@dataclass(frozen=True)
class ActionPlugin:
    """One action. Its handler's third parameter says which of two shapes it has.

    ``(parameters, effect, tx) -> result``: performed in the transaction that marks its message, once per effect key. What it
    raises undoes what it did; ``Stale`` makes the message come again.

    ``(parameters, effect, work, *tools) -> result``: leaves the house. The effect is marked dispatched and committed before
    the handler is called, outside of any transaction, and what it returns or raises is recorded in another. Further
    parameters are tools that the owner has under that name. A time-out, or an exception that is no ``Trouble``, means that
    the outcome is unknown - unless the action is idempotent: then it is tried again under the same key.

    ``inside``: ``(parameters, effect, tx) -> result | None`` of an action that leaves the house only now and then: called first,
    as a handler of the first shape is. None means that it has to leave; what was written until then stays.

    ``idempotent``: repeating it under the same effect key changes nothing; a function decides by the parameters.
    ``lookup``: ``(parameters, effect, work, *tools) -> result | None`` asks the other side about an unknown outcome; None
    means that it provably did not happen, and it is performed again; ``Rejected`` that the other side has refused it in the
    meantime. Without it an unknown outcome is shown to people.
    ``personal_data`` names the kinds of personal data it uses, for the disclosure record. ``causes`` names the types of the
    events it may bring about: a workflow that would start itself by them is found before it is published. ``needs_person``:
    it is done to the person a run is about, and fails for a run about nobody.
    """

    name: str
    owner: str
    title: str
    help: str
    parameters: type[BaseModel]
    result: type[BaseModel]
    handler: Handler
    idempotent: bool | Callable[[Any], bool] = False
    lookup: Lookup | None = None
    personal_data: tuple[str, ...] = ()
    timeout_seconds: float = 10.0
    books: Books | None = field(default=None)
    inside: Inside | None = None
    causes: tuple[str, ...] = ()
    needs_person: bool = False

    @property
    def leaves(self) -> bool:
        """Whether it leaves the house. Raises ``TypeError`` for a handler of neither shape."""
        third = [*inspect.signature(self.handler).parameters, "", "", ""][2]
        if third not in {"tx", "work"}:
            message = f"action {self.name}: the handler takes (parameters, effect, tx) or (parameters, effect, work, ...)"
            raise TypeError(message)
        return third == "work"

    def may_repeat(self, parameters: Any) -> bool:
        """Whether it may be sent again although it may have arrived."""
        return self.idempotent(parameters) if callable(self.idempotent) else self.idempotent

    def description(self) -> ActionDescribed:
        return ActionDescribed(
            name=self.name,
            owner_service=self.owner,
            title=self.title,
            help=self.help,
            parameters_schema=self.parameters.model_json_schema(),
            result_schema=self.result.model_json_schema(),
            idempotent=self.idempotent is True,
            lookup=self.lookup is not None,
            personal_data=list(self.personal_data),
            causes=list(self.causes),
            needs_person=self.needs_person,
        )


def tools_for(function: Callable[..., Any], tools: Mapping[str, Any]) -> dict[str, Any]:
    """The tools a handler or a look-up asks for by name. Raises ``LookupError`` naming what the owner does not have."""
    wanted = list(inspect.signature(function).parameters)[3:]
    missing = [name for name in wanted if name not in tools]
    if missing:
        message = f"{getattr(function, '__name__', function)}: nobody here has {', '.join(missing)}"
        raise LookupError(message)
    return {name: tools[name] for name in wanted}
