"""Perform what is asked of one service: inside a transaction, or out of the house; once for each effect key either way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import BaseModel

from libs.common.actions import effects
from libs.common.actions.dispatcher import Dispatcher
from libs.common.actions.effects import FINAL, LEASE_SECONDS, Finished, Key, key_of
from libs.common.actions.outcomes import Answer, Attempt, EffectState, next_state, retry_pause
from libs.common.actions.plugin import ActionPlugin, Effect, Request, Settled, tools_for
from libs.common.actions.troubles import ActionUnknown, NewsAwaited, OutcomeUnknown, Rejected, parameters_of
from libs.common.auth import Principal
from libs.common.errors import Stale, Trouble
from libs.common.logging import get_logger
from libs.common.messaging import Received
from libs.common.telemetry import Cause
from libs.common.work import Tx, Work
from libs.contracts.actions import ActionError, ActionRequest, ActionResult, Outcome

log = get_logger()

LOOKUP_RETRY_SECONDS = 300.0
LEFT_ALONE = "left_alone"
"""Why an effect failed that was not performed again because a person had said what became of it."""

_OUTCOMES = {EffectState.CONFIRMED: Outcome.SUCCEEDED, EffectState.FAILED: Outcome.FAILED, EffectState.UNKNOWN: Outcome.UNKNOWN}


class Performing:
    """The plug-ins of one owner at work. Raises ``TypeError``, ``LookupError`` or ``ValueError`` for one that cannot work here.

    ``lookup_after_seconds``: how long an unknown outcome rests before it is looked up.
    """

    def __init__(
        self,
        work: Work,
        plugins: Sequence[ActionPlugin],
        contract: tuple[type[ActionRequest], type[ActionResult]],
        tools: Mapping[str, Any],
        *,
        concurrency: int = 32,
        lookup_after_seconds: float = 60.0,
    ) -> None:
        self._work = work
        self._request, self._finished = contract
        self._plugins = {plugin.name: plugin for plugin in plugins}
        self._leaves = {plugin.name: plugin.leaves for plugin in plugins}
        self._handlers = {plugin.name: partial(plugin.handler, **tools_for(plugin.handler, tools)) for plugin in plugins}
        self._lookups = {p.name: partial(p.lookup, **tools_for(p.lookup, tools)) for p in plugins if p.lookup}
        self._lookup_after = lookup_after_seconds
        self.dispatcher = Dispatcher(self, concurrency=concurrency)
        for plugin in plugins:
            if not 0 < plugin.timeout_seconds < LEASE_SECONDS:
                message = f"action {plugin.name}: it may take less than {LEASE_SECONDS} seconds, not {plugin.timeout_seconds}"
                raise ValueError(message)

    @property
    def leave_the_house(self) -> bool:
        return any(self._leaves.values())

    async def take(self, events: list[Received[Any]], tx: Tx) -> None:
        """Perform or plan what is asked for, in the transaction that marks the messages; say at once what cannot be done."""
        first: dict[Key, Received[Any]] = {}
        for event in events:
            first.setdefault(Key(event.practice_id, event.data.effect_key, event.data.action), event)
        fresh = await effects.plan(list(first.values()), [self._leaves.get(e.data.action, False) for e in first.values()], tx)
        answers: dict[Key, Answer] = {}
        leaving: dict[str, list[Request]] = {}
        for key, event in first.items():
            if key not in fresh:
                continue
            try:
                plugin, parameters = self._asked(event.data)
            except Trouble as trouble:
                answers[key] = Answer.of(trouble)
                continue
            answer = await self._perform_inside(plugin, parameters, event, tx)
            if answer is None:
                leaving.setdefault(plugin.name, []).append(Request(event, parameters))
            else:
                answers[key] = answer
        planned = await self._plan(leaving, answers, tx)
        await self._end_at_once(answers, first, tx)
        if planned:
            await effects.await_dispatch(planned, tx)
            tx.after_commit(lambda: self.dispatcher.take(planned))

    def _asked(self, request: ActionRequest) -> tuple[ActionPlugin, Any]:
        plugin = self._plugins.get(request.action)
        if plugin is None:
            raise ActionUnknown
        return plugin, parameters_of(request, plugin.parameters)

    async def _perform_inside(self, plugin: ActionPlugin, parameters: Any, event: Received[Any], tx: Tx) -> Answer | None:
        """None for what has to leave the house.

        A refusal is an outcome and leaves nothing behind; what waits for news or lost a race comes again by itself.
        """
        leaves = self._leaves[plugin.name]
        handler = plugin.inside if leaves else self._handlers[plugin.name]
        if handler is None:
            return None
        tx.serve(event)
        effect = Effect(event.practice_id, event.data.effect_key, event.data, traceparent=event.cause.traceparent)
        try:
            async with tx.attempt():
                result = await handler(parameters, effect, tx)
                return None if leaves and result is None else Answer(Attempt.ACCEPTED, result=_dumped(plugin, result))
        except (NewsAwaited, Stale):
            raise
        except Trouble as trouble:
            return Answer.of(trouble)

    async def _plan(self, leaving: Mapping[str, list[Request]], answers: dict[Key, Answer], tx: Tx) -> list[Key]:
        planned: list[Key] = []
        for name, requests in leaving.items():
            books = self._plugins[name].books
            if books is not None:
                await books.plan(requests, tx)
            for request in requests:
                key = Key(request.event.practice_id, request.event.data.effect_key, name)
                if request.refused is None:
                    planned.append(key)
                else:
                    answers[key] = Answer.of(request.refused)
        return planned

    async def _end_at_once(self, answers: Mapping[Key, Answer], events: Mapping[Key, Received[Any]], tx: Tx) -> None:
        if not answers:
            return
        states = [EffectState.CONFIRMED if a.attempt is Attempt.ACCEPTED else EffectState.FAILED for a in answers.values()]
        await effects.settle(list(answers), states, list(answers.values()), tx)
        for (key, answer), state in zip(answers.items(), states, strict=True):
            request = events[key].data
            self._say(request.model_dump(), key, _OUTCOMES[state], answer, events[key].cause, tx)

    async def leave(self, events: list[Received[Any]], tx: Tx) -> None:
        """A person has said what became of these: nobody looks them up any more, and nobody performs them again.

        One that is about to be performed once more has failed instead, and that is said; one that is being performed is not stopped.
        """
        rows = await effects.lock([Key(event.practice_id, event.data.effect_key) for event in events], tx)
        await effects.leave_alone([key_of(row) for row in rows if row["state"] == EffectState.UNKNOWN], tx)
        planned = [Finished(key_of(row), Answer(Attempt.REFUSED, code=LEFT_ALONE)) for row in rows if row["state"] == EffectState.PLANNED]
        if planned:
            await self.record_in(planned, tx)

    async def begin(self, keys: Sequence[Key]) -> list[Callable[[], Awaitable[Finished]]]:
        """Claim planned effects for this process; returns how each is called.

        After this commit an effect may have happened. If we die before its outcome is recorded, the recovery duty looks it
        up; nobody repeats it without asking, unless it may be repeated.
        """
        async with self._work.batch({key.practice_id for key in keys}, Principal.system("dispatcher")) as tx:
            claimed = await self._loaded(await effects.mark(keys, tx), tx)
        return [partial(self._call, effect) for effect in claimed]

    async def _loaded(self, rows: Sequence[Any], tx: Tx) -> list[Effect]:
        """Effects as their handlers see them, with what the books hold for them."""
        found: list[Effect] = []
        for name in dict.fromkeys(row["action"] for row in rows):
            mine = [self._effect(row) for row in rows if row["action"] == name]
            plugin = self._plugins.get(name)
            loaded = await plugin.books.claim(mine, tx) if plugin and plugin.books else {}
            found += [Effect(e.practice_id, e.key, e.request, e.attempts, e.traceparent, loaded.get((e.practice_id, e.key))) for e in mine]
        return found

    def _effect(self, row: Any) -> Effect:
        request = self._request.model_validate(row["request"], extra="ignore")
        return Effect(row["practice_id"], row["effect_key"], request, row["attempts"], row["traceparent"])

    async def _call(self, effect: Effect) -> Finished:
        return Finished(Key(effect.practice_id, effect.key), await self._answer(effect))

    async def _answer(self, effect: Effect) -> Answer:
        """One try. Never raises for what the handler or the other side does."""
        try:
            plugin, parameters = self._asked(effect.request)
            if isinstance(effect.loaded, Trouble):
                return Answer.of(effect.loaded)
        except Trouble as trouble:
            return Answer.of(trouble)
        may_repeat = plugin.may_repeat(parameters)
        try:
            async with asyncio.timeout(plugin.timeout_seconds):
                result = await self._handlers[plugin.name](parameters, effect, self._work)
            return Answer(Attempt.ACCEPTED, result=_dumped(plugin, result))
        except OutcomeUnknown as unknown:
            return Answer.lost(unknown.reason, may_repeat=may_repeat)
        except Trouble as trouble:
            return Answer.of(trouble)
        except TimeoutError:
            return Answer.lost("timed_out", may_repeat=may_repeat)
        except Exception as error:  # the handler broke somewhere on its way: it may have happened
            log.error("action.broke", action=plugin.name, effect_key=str(effect.key), exc_info=error)
            return Answer.lost("handler_failed", may_repeat=may_repeat)

    async def record(self, finished: Sequence[Finished]) -> None:
        """Write down what tries came to, and say it. Durable together; a second report of a finished effect changes nothing."""
        async with self._work.batch({item.key.practice_id for item in finished}, Principal.system("dispatcher")) as tx:
            await self.record_in(finished, tx)

    async def record_in(self, finished: Sequence[Finished], tx: Tx) -> None:
        answers = {item.key: item.answer for item in finished}
        rows = await effects.lock(list(answers), tx)
        if not rows:
            return
        keys = [key_of(row) for row in rows]
        told = [answers[key] for key in keys]
        states = [next_state(answer.attempt, row["attempts"], in_doubt=row["in_doubt"]) for answer, row in zip(told, rows, strict=True)]
        await effects.settle(keys, states, told, tx)
        pauses = {key: self._pause(row, state, answers[key]) for key, row, state in zip(keys, rows, states, strict=True)}
        await effects.leave_alone([key for key, pause in pauses.items() if pause is None], tx)
        due = {key: pause for key, pause in pauses.items() if pause is not None}
        await effects.postpone(list(due), list(due.values()), tx)
        await self._keep_books(rows, states, told, tx)
        for row, state, answer in zip(rows, states, told, strict=True):
            if state is not EffectState.PLANNED and row["state"] != state:
                self._say(row, key_of(row), _OUTCOMES[state], answer, _cause(row), tx)

    def _pause(self, row: Any, state: EffectState, answer: Answer) -> float | None:
        """Seconds until somebody looks after the effect again; None for never: it ended, or only a person can find out."""
        if state in FINAL or (state is EffectState.UNKNOWN and row["action"] not in self._lookups):
            return None
        if state is EffectState.UNKNOWN:
            return self._lookup_after
        return retry_pause(row["attempts"], answer.after_seconds, random.random())  # noqa: S311 - jitter

    async def _keep_books(self, rows: Sequence[Any], states: Sequence[EffectState], told: Sequence[Answer], tx: Tx) -> None:
        kept: dict[str, list[Settled]] = {}
        for row, state, answer in zip(rows, states, told, strict=True):
            plugin = self._plugins.get(row["action"])
            if plugin is not None and plugin.books is not None:
                outcome = _OUTCOMES.get(state)
                settled = Settled(self._effect(row), _cause(row), outcome, answer.result, _error(outcome, answer) if outcome else None)
                kept.setdefault(plugin.name, []).append(settled)
        for name, settled_ones in kept.items():
            books = self._plugins[name].books
            assert books is not None
            await books.record(settled_ones, tx)

    def _say(self, about: Any, key: Key, outcome: Outcome, answer: Answer, cause: Cause, tx: Tx) -> None:
        finished = self._finished(
            effect_key=key.effect_key, action=about["action"], run_id=about["run_id"], step_id=about["step_id"], outcome=outcome,
            error=_error(outcome, answer), result=answer.result if outcome is Outcome.SUCCEEDED else {},
        )  # fmt: skip
        tx.emit(finished, because=cause, practice_id=key.practice_id)

    async def recover(self) -> float | None:
        """Bring on what was planned and forgotten, dispatched and orphaned, or unknown and due for a look-up.

        The one resend there is: an effect whose outcome was unknown and which the other side provably does not know. Returns
        0 when there is more to do at once.
        """
        system = Principal.system("recovery")
        async with self._work.batch([], system) as tx:
            claimed = await effects.claim_due(tx)
        if not claimed:
            return None
        async with self._work.batch({key.practice_id for key in claimed}, system) as tx:
            rows = await effects.read(claimed, tx)
            doubtful = await self._loaded([row for row in rows if row["state"] == EffectState.UNKNOWN], tx)
        self.dispatcher.take([key_of(row) for row in rows if row["state"] == EffectState.PLANNED])
        orphaned = [
            Finished(key_of(row), Answer.lost("process_died", may_repeat=self._may_repeat(self._effect(row).request)))
            for row in rows
            if row["state"] == EffectState.DISPATCHED
        ]
        if orphaned:
            await self.record(orphaned)
        await asyncio.gather(*(self._look_up(effect) for effect in doubtful))
        return 0.0 if len(claimed) >= effects.CLAIM else None

    def _may_repeat(self, request: ActionRequest) -> bool:
        try:
            plugin, parameters = self._asked(request)
        except Trouble:
            return False
        return plugin.may_repeat(parameters)

    async def _look_up(self, effect: Effect) -> None:
        key = Key(effect.practice_id, effect.key, effect.request.action)
        try:
            plugin, parameters = self._asked(effect.request)
            if isinstance(effect.loaded, Trouble):
                raise effect.loaded
            async with asyncio.timeout(plugin.timeout_seconds):
                result = await self._lookups[plugin.name](parameters, effect, self._work)
            found = None if result is None else Answer(Attempt.ACCEPTED, result=_dumped(plugin, result))
        except Rejected as rejected:
            found = Answer.of(rejected)
        except Exception as error:  # the other side cannot say: it stays unknown, visible, and is asked again later
            log.info("lookup.failed", effect_key=str(effect.key), exc_info=error)
            async with self._work(Principal.system("recovery", effect.practice_id)) as tx:
                await effects.postpone([key], [LOOKUP_RETRY_SECONDS], tx)
            return
        if found is not None:
            await self.record([Finished(key, found)])
            return
        async with self._work(Principal.system("recovery", effect.practice_id)) as tx:
            await effects.lock([key], tx)
            if not await effects.is_awaited(key, tx):  # a person said meanwhile what became of it
                return
            await effects.replan(key, tx)
        self.dispatcher.take([key])


def _cause(row: Any) -> Cause:
    return Cause(row["correlation_id"], row["causation_id"], row["traceparent"], "")


def _error(outcome: Outcome, answer: Answer) -> ActionError | None:
    if outcome is Outcome.SUCCEEDED:
        return None
    retryable = outcome is Outcome.FAILED and answer.attempt is Attempt.NOT_SENT
    return ActionError(code=answer.code or str(outcome), message=answer.message or "It was refused.", retryable=retryable)


def _dumped(plugin: ActionPlugin, result: BaseModel | None) -> dict[str, Any]:
    """The result as it is said. Raises ``TypeError`` for one that is not what the plug-in declares."""
    if not isinstance(result, plugin.result):
        message = f"action {plugin.name}: the result is not a {plugin.result.__name__}"
        raise TypeError(message)
    return result.model_dump(mode="json")
