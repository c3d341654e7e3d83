"""The way out of ``unknown``: a person found out what became of an action, and says so in its owner's place.

What they say counts for good. The owner is told to leave the effect alone, so that it is neither looked up nor performed again;
what it hears of the effect all the same is kept beside what was said and moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import Field, StringConstraints

from libs.common.command import Command, Text
from libs.common.errors import Conflict, NotFound
from libs.common.messaging import Received
from libs.common.work import Tx
from libs.contracts.actions import ActionResult, EffectLeft, Outcome
from libs.contracts.envelope import MESSAGES
from libs.contracts.workflows import StepResolved
from services.workflows.commands.arrivals import bring_to_rest
from services.workflows.commands.durable import take_up
from services.workflows.commands.handover import call
from services.workflows.commands.holding import runs_to_move
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.runs import RunNotFound, move_runs
from services.workflows.commands.serial import one_at_a_time
from services.workflows.queries.definitions import action_owners
from services.workflows.queries.resolutions import said_of, step_of
from services.workflows.rules.runs.orchestration import BUILTIN
from services.workflows.rules.runs.states import StepResult

SAID_TO_HAVE_FAILED = "said_to_have_failed"
"""The error code of a step a person said had failed."""

_KEEP = """
INSERT INTO resolution (practice_id, effect_key, run_id, step_id, outcome, note, resolved_by, resolved_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_ANSWERED = """
UPDATE resolution r SET answer = CASE WHEN t.answer = 'unknown' THEN r.answer ELSE t.answer END,
  answer_code = CASE WHEN t.answer = 'unknown' THEN r.answer_code ELSE t.code END,
  answered_at = CASE WHEN t.answer = 'unknown' THEN r.answered_at ELSE $5 END
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) AS t (practice_id, effect_key, answer, code)
WHERE r.practice_id = t.practice_id AND r.effect_key = t.effect_key RETURNING r.practice_id, r.effect_key
"""


class StepNotFound(NotFound):
    """The run has not come to such a step."""


class StepIsNotUnknown(Conflict):
    """Only of an action whose outcome is unknown can be said what became of it."""


class ResolveStep(Command):
    """What became of the action, as far as the person could find out. ``note``: how they know."""

    outcome: Literal["succeeded", "failed"]
    note: Annotated[Text, StringConstraints(max_length=2000)] | None = Field(default=None)


async def resolve_step(run_id: UUID, step_id: str, cmd: ResolveStep, published: PublishedWorkflows, tx: Tx) -> None:
    """The step has succeeded, without a result, and its run goes on; or it has failed, and its policy for errors says how it goes on.

    In the transaction of who says it, on either engine. Saying the same again changes nothing. Of a run that was cancelled it is
    recorded only. Raises ``RunNotFound``, ``StepNotFound``, ``StepIsNotUnknown``.
    """
    await one_at_a_time([tx.practice_id], tx)
    key = tx.practice_id, run_id
    found = await runs_to_move([key], tx)
    if not found:
        raise RunNotFound
    durable = found[key]["engine"] != BUILTIN
    if durable:  # the answer may have been handed over already
        await take_up(key, published, tx)
    step = await step_of(run_id, step_id, tx)
    if step is None:
        raise StepNotFound
    if step["status"] != Outcome.UNKNOWN:
        if step["effect_key"] is not None and await said_of(step["effect_key"], tx) == cmd.outcome:
            return
        raise StepIsNotUnknown
    await _say(step, found[key], cmd, tx)
    code = SAID_TO_HAVE_FAILED if cmd.outcome == "failed" else None
    answer = StepResult(step_id, cmd.outcome, code, step["attempt"])
    await bring_to_rest(await move_runs([(key, answer, tx.cause)], published, tx), published, tx)
    if durable:
        await call([key], tx)
        tx.after_commit(published.orchestration.hint)


async def _say(step: Any, run: Any, cmd: ResolveStep, tx: Tx) -> None:
    """Keep it, say it, and tell the owner of an action that leaves the house."""
    effect_key, where = step["effect_key"], (step["run_id"], step["step_id"])
    await tx.execute(_KEEP, tx.practice_id, effect_key, *where, cmd.outcome, cmd.note, tx.principal.actor, tx.now)
    about = {"effect_key": effect_key, "action": step["action"], "run_id": where[0], "step_id": where[1]}
    tx.emit(StepResolved(**about, workflow_id=run["workflow_id"], outcome=cmd.outcome, note=cmd.note))
    owner = (await action_owners([step["action"]], tx)).get(step["action"])
    leave = MESSAGES.get(f"vantage.{owner}.leave-effect.v1")
    if leave is not None:
        tx.emit(cast("type[EffectLeft]", leave)(**about))


async def said_before(events: Sequence[Received[Any]], tx: Tx) -> set[tuple[UUID, UUID]]:
    """Of which of these answers (by practice and effect key) a person had said before what became of the effect.

    What the owner knows now is kept beside what they said. The run has gone by the person's word.
    """
    heard: dict[tuple[UUID, UUID], ActionResult] = {}
    for event in events:
        key = event.practice_id, event.data.effect_key
        if key not in heard or event.data.outcome is not Outcome.UNKNOWN:
            heard[key] = event.data
    answers = heard.values()
    rows = await tx.rows(
        _ANSWERED, [practice for practice, _ in heard], [effect_key for _, effect_key in heard],
        [answer.outcome for answer in answers], [answer.error.code if answer.error else None for answer in answers], tx.now,
    )  # fmt: skip
    return {(row["practice_id"], row["effect_key"]) for row in rows}
