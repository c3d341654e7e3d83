"""An effect of which a person has said what became of it: looked up no more, never performed again, and still heard of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from libs.common.actions import ActionPlugin, Effect, OutcomeUnknown
from libs.common.actions.effects import Finished, Key
from libs.common.actions.outcomes import Answer, Attempt
from libs.common.actions.performing import LEFT_ALONE, Performing
from libs.common.auth import Principal
from libs.common.messaging import Consumer
from libs.common.messaging.batches import Batches
from libs.common.tests.conftest import SERVICE
from libs.common.work import Work
from libs.contracts.actions import ActionRequest, Outcome
from libs.contracts.registry import MESSAGES
from libs.testing.fixtures import incoming
from libs.testing.stage import Stage

LEAVE = MESSAGES["vantage.notifications.leave-effect.v1"]
Tries = list[str]
_PLANNED = "UPDATE effect SET state = 'planned' WHERE practice_id = $1"


class Nothing(BaseModel):
    """Takes nothing, results in nothing."""


def lost(tries: Tries, look_up: Callable[..., Awaitable[Nothing | None]]) -> ActionPlugin:
    """Its first try is never answered for, the next would succeed."""

    async def handler(parameters: Nothing, effect: Effect, work: Work) -> Nothing:
        tries.append("tried")
        if len(tries) == 1:
            raise OutcomeUnknown
        return parameters

    return ActionPlugin("try_it", SERVICE, "Try it", "Tries it.", Nothing, Nothing, handler, lookup=look_up)


async def leave(performing: Performing, request: ActionRequest, work: Work, practice: UUID) -> None:
    consumer = Consumer(SERVICE)
    consumer.on_batch(LEAVE)(performing.leave)
    left = LEAVE.model_validate(request.model_dump(include={"effect_key", "action", "run_id", "step_id"}))
    await Batches(consumer, work).handle([incoming(left, practice)])


async def doubtful(stage: Stage) -> ActionRequest:
    request = stage.asking({}, None)
    await stage.ask(request)
    return request


class TestLeavingAnEffectAlone:
    async def test_it_is_not_looked_up_and_not_performed_again(self, work: Work, practice: UUID) -> None:
        tries: Tries = []

        async def nothing(parameters: Nothing, effect: Effect, work: Work) -> Nothing | None:
            tries.append("looked up")
            return None

        async with Stage(work, lost(tries, nothing), practice) as stage:
            await leave(stage.performing, await doubtful(stage), work, practice)
            await stage.later()
            assert tries == ["tried"]
            assert [o.outcome for o in await stage.outcomes()] == [Outcome.UNKNOWN]

    async def test_a_look_up_under_way_performs_nothing_either(self, work: Work, practice: UUID) -> None:
        tries: Tries = []
        kept: dict[str, Any] = {}

        async def while_asked(parameters: Nothing, effect: Effect, work: Work) -> Nothing | None:
            await leave(kept["stage"].performing, effect.request, work, practice)
            return None

        async with Stage(work, lost(tries, while_asked), practice) as stage:
            kept["stage"] = stage
            await doubtful(stage)
            await stage.later()
            assert tries == ["tried"]

    async def test_what_was_about_to_be_performed_once_more_has_failed_and_says_so(self, work: Work, practice: UUID) -> None:
        tries: Tries = []

        async def unasked(parameters: Nothing, effect: Effect, work: Work) -> Nothing | None:
            raise ConnectionError

        async with Stage(work, lost(tries, unasked), practice) as stage:
            request = await doubtful(stage)
            async with work.batch([practice], Principal.system("test")) as tx:
                await tx.execute(_PLANNED, practice)
            await leave(stage.performing, request, work, practice)
            await stage.later()
            told = [(o.outcome, o.error.code if o.error else None) for o in await stage.outcomes()]
            assert (tries, told) == (["tried"], [(Outcome.UNKNOWN, "answer_lost"), (Outcome.FAILED, LEFT_ALONE)])

    async def test_a_report_about_it_is_still_said(self, work: Work, practice: UUID) -> None:
        async def unasked(parameters: Nothing, effect: Effect, work: Work) -> Nothing | None:
            raise ConnectionError

        async with Stage(work, lost([], unasked), practice) as stage:
            request = await doubtful(stage)
            await leave(stage.performing, request, work, practice)
            await stage.performing.record([Finished(Key(practice, request.effect_key), Answer(Attempt.ACCEPTED))])
            assert [o.outcome for o in await stage.outcomes()] == [Outcome.UNKNOWN, Outcome.SUCCEEDED]
