"""What becomes of an effect: states and pauses, the two shapes of handlers, and what their troubles come to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from libs.common.actions import ActionPlugin, Effect, NewsAwaited, NotSent, OutcomeUnknown, Rejected
from libs.common.actions.outcomes import RETRY_LIMIT, RETRY_LIMIT_SECONDS, Attempt, EffectState, attempt_of, next_state, retry_pause
from libs.common.actions.performing import Performing
from libs.common.auth import Principal
from libs.common.errors import Refused, Unavailable
from libs.common.messaging import Consumer
from libs.common.messaging.batches import Batches
from libs.common.messaging.redrive import Redrive
from libs.common.tests.conftest import SERVICE, thing
from libs.common.work import Tx, Work
from libs.contracts.actions import ActionResult, Outcome
from libs.testing.fixtures import incoming
from libs.testing.probe import until_async
from libs.testing.stage import Stage


class TestAttemptOf:
    @pytest.mark.parametrize(
        ("attempt", "statuses"),
        [
            (Attempt.ACCEPTED, [200, 201, 202]),
            (Attempt.NOT_SENT, [429, 503]),
            (Attempt.REFUSED, [400, 401, 402, 403, 404, 413, 422, 498]),
            (Attempt.LOST, [204, 302, 500, 502, 504]),
        ],
    )
    def test_says_whether_the_request_may_have_taken_effect(self, attempt: Attempt, statuses: list[int]) -> None:
        assert {attempt_of(status) for status in statuses} == {attempt}


class TestNextState:
    @pytest.mark.parametrize(
        ("attempt", "attempts", "state"),
        [
            (Attempt.ACCEPTED, 1, EffectState.CONFIRMED),
            (Attempt.REFUSED, 1, EffectState.FAILED),
            (Attempt.LOST, 1, EffectState.UNKNOWN),
            (Attempt.LOST, RETRY_LIMIT + 5, EffectState.UNKNOWN),
            (Attempt.NOT_SENT, 1, EffectState.PLANNED),
            (Attempt.NOT_SENT, RETRY_LIMIT - 1, EffectState.PLANNED),
            (Attempt.NOT_SENT, RETRY_LIMIT, EffectState.FAILED),
            (Attempt.REPEATABLE, RETRY_LIMIT - 1, EffectState.PLANNED),
            (Attempt.REPEATABLE, RETRY_LIMIT, EffectState.UNKNOWN),
        ],
    )
    def test_follows_from_the_attempt(self, attempt: Attempt, attempts: int, state: EffectState) -> None:
        assert next_state(attempt, attempts) is state

    def test_what_may_have_happened_before_is_not_given_up_as_failed(self) -> None:
        assert next_state(Attempt.NOT_SENT, RETRY_LIMIT, in_doubt=True) is EffectState.UNKNOWN
        assert next_state(Attempt.REFUSED, 2, in_doubt=True) is EffectState.FAILED


class TestRetryPause:
    @given(st.integers(min_value=1, max_value=50), st.floats(min_value=0, max_value=1))
    def test_grows_and_stays_within_its_bounds(self, attempts: int, jitter: float) -> None:
        assert 0 < retry_pause(attempts, None, jitter) <= RETRY_LIMIT_SECONDS * 1.2
        assert retry_pause(attempts, None, 0) <= retry_pause(attempts + 1, None, 0)

    @pytest.mark.parametrize(("asked", "pause"), [(7.0, 7.0), (0.0, 0.0), (1e9, RETRY_LIMIT_SECONDS), (-5.0, 0.0)])
    def test_is_what_the_provider_asked_for_within_reason(self, asked: float, pause: float) -> None:
        assert retry_pause(3, asked, 0) == pause


class Nothing(BaseModel):
    """Takes nothing, results in nothing."""


class NeverMind(Refused):
    """A rule says no, after all."""


async def inside(parameters: Nothing, effect: Effect, tx: Tx) -> Nothing:
    tx.emit(thing(effect.key), practice_id=effect.practice_id)
    return parameters


async def outside(parameters: Nothing, effect: Effect, work: Work) -> Nothing:
    return parameters


def plugin(handler: Callable[..., Any], **fields: Any) -> ActionPlugin:
    return ActionPlugin("try_it", SERVICE, "Try it", "Tries it.", Nothing, Nothing, handler, **fields)


def raising(*troubles: Exception | None) -> Callable[..., Any]:
    """Leaves the house and raises these, one after another; the last one for ever."""
    left = list(troubles)

    async def handler(parameters: Nothing, effect: Effect, work: Work) -> Nothing:
        trouble = left.pop(0) if len(left) > 1 else left[0]
        if trouble is not None:
            raise trouble
        return parameters

    return handler


async def performed(work: Work, practice: UUID, handler: Callable[..., Any], times: int = 0, **fields: Any) -> Sequence[ActionResult]:
    async with Stage(work, plugin(handler, **fields), practice) as stage:
        await stage.ask(stage.asking({}, None))
        for _ in range(times):
            await stage.later()
        return await stage.outcomes()


def told(outcomes: Sequence[ActionResult]) -> list[tuple[Outcome, str | None, bool]]:
    return [(o.outcome, o.error.code if o.error else None, bool(o.error and o.error.retryable)) for o in outcomes]


class TestShape:
    def performing(self, work: Work, handler: Callable[..., Any], tools: dict[str, Any], **fields: Any) -> Performing:
        stage = Stage(work, plugin(handler, **fields), uuid4(), tools)
        return stage.performing

    def test_is_told_by_the_third_parameter(self, work: Work) -> None:
        assert [plugin(handler).leaves for handler in (inside, outside)] == [False, True]
        assert not self.performing(work, inside, {}).leave_the_house

    def test_of_neither_kind_stops_the_start(self, work: Work) -> None:
        async def lost(parameters: Nothing) -> Nothing:
            return parameters

        with pytest.raises(TypeError, match="try_it"):
            self.performing(work, lost, {})

    def test_tools_are_handed_over_by_name_and_a_missing_one_stops_the_start(self, work: Work) -> None:
        async def needy(parameters: Nothing, effect: Effect, work: Work, hammer: object) -> Nothing:
            return parameters

        self.performing(work, needy, {"hammer": object(), "saw": object()})
        with pytest.raises(LookupError, match="hammer"):
            self.performing(work, needy, {"saw": object()})

    @pytest.mark.parametrize("seconds", [0.0, 30.0, 600.0])
    def test_a_time_out_beyond_the_lease_stops_the_start(self, seconds: float, work: Work) -> None:
        with pytest.raises(ValueError, match="try_it"):
            self.performing(work, outside, {}, timeout_seconds=seconds)


class TestInsideATransaction:
    @pytest.mark.parametrize(
        ("trouble", "code", "retryable"),
        [
            (NeverMind(), "never_mind", False),
            (Rejected("no"), "no", False),
            (Unavailable(), "unavailable", True),
            (NotSent("x"), "x", True),
        ],
    )
    async def test_a_refusal_is_said_and_leaves_nothing(
        self, trouble: Exception, code: str, retryable: bool, work: Work, practice: UUID
    ) -> None:
        called: list[object] = []

        async def handler(parameters: Nothing, effect: Effect, tx: Tx) -> Nothing:
            await inside(parameters, effect, tx)
            tx.after_commit(lambda: called.append(effect))
            await tx.execute("INSERT INTO inbox (event_id) VALUES ($1)", effect.key)
            raise trouble

        async with Stage(work, plugin(handler), practice) as stage:
            request = stage.asking({}, None)
            await stage.ask(request)
            assert told(await stage.outcomes()) == [(Outcome.FAILED, code, retryable)]
            assert (len(await stage.said()), called) == (1, [])
        async with work(Principal.system("test", practice)) as tx:
            assert await tx.value("SELECT count(*) FROM inbox WHERE event_id = $1", request.effect_key) == 0

    async def test_what_waits_for_news_is_put_back_and_done_when_they_come(self, work: Work, practice: UUID) -> None:
        known: list[object] = []

        async def handler(parameters: Nothing, effect: Effect, tx: Tx) -> Nothing:
            if not known:
                raise NewsAwaited
            return parameters

        stage = Stage(work, plugin(handler), practice)
        consumer = Consumer(SERVICE)
        consumer.on_batch(stage.request)(stage.performing.take)
        batches = Batches(consumer, work)
        request = stage.asking({}, None)
        await batches.handle([incoming(request, practice)])
        assert await stage.outcomes() == []
        known.append("news")
        assert await Redrive(consumer, work, batches).subject(practice, request.subject) == 1
        assert told(await stage.outcomes()) == [(Outcome.SUCCEEDED, None, False)]

    async def test_a_result_of_another_kind_is_no_result(self, work: Work, practice: UUID) -> None:
        async def handler(parameters: Nothing, effect: Effect, tx: Tx) -> BaseModel:
            return BaseModel()

        assert await performed(work, practice, handler) == []


class TestNowAndThen:
    """Some requests stay in the house, others leave it."""

    async def test_what_stays_is_done_in_the_transaction_and_the_handler_never_hears_of_it(self, work: Work, practice: UUID) -> None:
        assert told(await performed(work, practice, raising(ZeroDivisionError()), inside=inside)) == [(Outcome.SUCCEEDED, None, False)]

    async def test_what_leaves_keeps_what_was_written_until_then(self, work: Work, practice: UUID) -> None:
        async def hands_on(parameters: Nothing, effect: Effect, tx: Tx) -> None:
            await tx.execute("INSERT INTO inbox (event_id) VALUES ($1)", effect.key)

        async with Stage(work, plugin(raising(NotSent("busy"), None), inside=hands_on), practice) as stage:
            request = stage.asking({}, None)
            await stage.ask(request, request)
            assert await stage.outcomes() == []
            await stage.later()
            assert told(await stage.outcomes()) == [(Outcome.SUCCEEDED, None, False)]
        async with work(Principal.system("test", practice)) as tx:
            assert await tx.value("SELECT count(*) FROM inbox WHERE event_id = $1", request.effect_key) == 1

    async def test_a_refusal_inside_ends_it(self, work: Work, practice: UUID) -> None:
        async def refuses(parameters: Nothing, effect: Effect, tx: Tx) -> None:
            await inside(parameters, effect, tx)
            raise NeverMind

        async with Stage(work, plugin(outside, inside=refuses), practice) as stage:
            await stage.ask(stage.asking({}, None))
            assert told(await stage.outcomes()) == [(Outcome.FAILED, "never_mind", False)]
            assert len(await stage.said()) == 1


class TestOutOfTheHouse:
    @pytest.mark.parametrize(
        ("handler", "outcomes"),
        [
            (raising(None), [(Outcome.SUCCEEDED, None, False)]),
            (raising(NeverMind()), [(Outcome.FAILED, "never_mind", False)]),
            (raising(NotSent("busy"), None), [(Outcome.SUCCEEDED, None, False)]),
            (raising(Unavailable()), [(Outcome.FAILED, "unavailable", True)]),
            (raising(OutcomeUnknown(), None), [(Outcome.UNKNOWN, "answer_lost", False)]),
            (raising(ZeroDivisionError(), None), [(Outcome.UNKNOWN, "handler_failed", False)]),
            (raising(TimeoutError(), None), [(Outcome.UNKNOWN, "timed_out", False)]),
        ],
        ids=["done", "refused", "again", "given up", "unknown", "broke", "timed out"],
    )
    async def test_what_is_raised_decides(
        self, handler: Callable[..., Any], outcomes: list[tuple[Outcome, str | None, bool]], work: Work, practice: UUID
    ) -> None:
        assert told(await performed(work, practice, handler, times=RETRY_LIMIT + 1)) == outcomes

    @pytest.mark.parametrize("trouble", [OutcomeUnknown(), ZeroDivisionError(), TimeoutError()], ids=type)
    async def test_what_may_be_repeated_is(self, trouble: Exception, work: Work, practice: UUID) -> None:
        outcomes = await performed(work, practice, raising(trouble, None), times=1, idempotent=True)
        assert told(outcomes) == [(Outcome.SUCCEEDED, None, False)]

    async def test_a_look_up_that_finds_nothing_is_the_one_reason_to_do_it_again(self, work: Work, practice: UUID) -> None:
        asked: list[UUID] = []

        async def nothing(parameters: Nothing, effect: Effect, work: Work) -> Nothing | None:
            asked.append(effect.key)
            return None

        outcomes = await performed(work, practice, raising(OutcomeUnknown(), None), times=1, lookup=nothing)
        assert ([o.outcome for o in outcomes], len(asked)) == ([Outcome.UNKNOWN, Outcome.SUCCEEDED], 1)

    async def test_a_look_up_that_cannot_say_leaves_it_unknown(self, work: Work, practice: UUID) -> None:
        async def away(parameters: Nothing, effect: Effect, work: Work) -> Nothing | None:
            raise ConnectionError

        outcomes = await performed(work, practice, raising(OutcomeUnknown(), None), times=3, lookup=away)
        assert [o.outcome for o in outcomes] == [Outcome.UNKNOWN]

    async def test_a_look_up_that_hears_of_a_refusal_ends_it(self, work: Work, practice: UUID) -> None:
        async def declined(parameters: Nothing, effect: Effect, work: Work) -> Nothing | None:
            raise Rejected("declined")

        outcomes = await performed(work, practice, raising(OutcomeUnknown(), None), times=2, lookup=declined)
        assert told(outcomes) == [(Outcome.UNKNOWN, "answer_lost", False), (Outcome.FAILED, "declined", False)]

    async def test_an_action_that_was_uninstalled_meanwhile_fails_and_says_so(self, work: Work, practice: UUID) -> None:
        async with Stage(work, plugin(raising(NotSent())), practice) as stage:
            await stage.ask(stage.asking({}, None))
        async with Stage(work, replace(plugin(outside), name="another"), practice) as stage:
            await stage.later()
            assert told(await stage.outcomes()) == [(Outcome.FAILED, "action_unknown", False)]

    async def test_takes_no_longer_than_it_says(self, work: Work, practice: UUID) -> None:
        async def forever(parameters: Nothing, effect: Effect, work: Work) -> Nothing:
            await asyncio.Event().wait()
            return parameters

        assert told(await performed(work, practice, forever, timeout_seconds=0.05)) == [(Outcome.UNKNOWN, "timed_out", False)]


class TestLanes:
    async def test_a_receiver_that_hangs_holds_up_no_other_action(self, work: Work, practice: UUID) -> None:
        hanging, done = asyncio.Event(), asyncio.Event()

        async def hang(parameters: Nothing, effect: Effect, work: Work) -> Nothing:
            await hanging.wait()
            return parameters

        async def swift(parameters: Nothing, effect: Effect, work: Work) -> Nothing:
            done.set()
            return parameters

        stage = Stage(work, plugin(hang), practice)
        plugins = [plugin(hang), replace(plugin(swift), name="swift")]
        performing = Performing(work, plugins, (stage.request, stage.finished), {}, concurrency=2)
        consumer = Consumer(SERVICE)
        consumer.on_batch(stage.request)(performing.take)
        await performing.dispatcher.start()
        requests = [stage.asking({}, None) for _ in range(5)]
        requests.append(requests[0].model_copy(update={"effect_key": uuid4(), "action": "swift"}))
        await Batches(consumer, work).handle([incoming(request, practice) for request in requests])
        async with asyncio.timeout(10):
            await done.wait()
        hanging.set()
        await performing.dispatcher.stop()

    async def test_practices_take_turns_however_much_one_asks_for(self, work: Work, practice: UUID) -> None:
        loud, quiet = practice, uuid4()
        called: list[UUID] = []

        async def note(parameters: Nothing, effect: Effect, work: Work) -> Nothing:
            called.append(effect.practice_id)
            return parameters

        stage = Stage(work, plugin(note), practice)
        performing = Performing(work, [plugin(note)], (stage.request, stage.finished), {}, concurrency=4)
        consumer = Consumer(SERVICE)
        consumer.on_batch(stage.request)(performing.take)
        batches = Batches(consumer, work)
        await batches.handle([incoming(stage.asking({}, None), loud) for _ in range(40)])
        await batches.handle([incoming(stage.asking({}, None), quiet)])
        await performing.dispatcher.start()
        await until_async(performing.dispatcher.idle, what="everything called")
        await performing.dispatcher.stop()
        assert (called.index(quiet) < 2 * 4, len(called)) == (True, 41)
