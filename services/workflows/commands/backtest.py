"""Backtests: ask for one, look at it, call it off. What runs them is beside this, in ``backtesting``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, model_validator

from libs.common.command import Command
from libs.common.errors import Conflict, NotFound, Refused
from libs.common.work import Tx, json_text
from libs.contracts.workflows import ExplanationsViewed
from services.workflows.commands.definitions import WorkflowNotFound
from services.workflows.commands.dry_run import VersionNotFound, compiled_or_refused
from services.workflows.commands.history import KEPT
from services.workflows.queries.backtests import backtest_by_id, backtests_of
from services.workflows.queries.definitions import version_exists, workflow_by_id
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.expressions.engines import Engine

LONGEST = timedelta(days=30)
MOST_SHOWN = 100

_INSERT = """
INSERT INTO backtest (practice_id, id, workflow_id, version, definition, compared_version, since, until, status, created_by, created_at)
VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7, $8, 'queued', $9, $10)
"""
_QUEUE = "INSERT INTO backtest_queue (practice_id, backtest_id, queued_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING true"
_CANCEL = """
UPDATE backtest SET status = 'cancelled', finished_at = $3 WHERE practice_id = $1 AND id = $2 AND status IN ('queued', 'running') RETURNING true
"""


class BacktestNotFound(NotFound):
    """No such backtest."""


class BacktestUnderWay(Conflict):
    """A backtest of this practice is under way; one at a time."""


class BacktestHasEnded(Conflict):
    """The backtest has ended already."""


class BacktestSpanInvalid(Refused):
    """A backtest covers a time in the past, of at most 30 days, of which events are still remembered."""


class AskForBacktest(Command):
    """The draft over the events of the last ``days``, or of a span; beside what is published, a version, or nothing."""

    days: Annotated[int, Field(ge=1, le=30)] | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    compare_with: Literal["published"] | Annotated[int, Field(ge=1)] | None = "published"

    @model_validator(mode="after")
    def _days_or_span(self) -> Self:
        if (self.days is None) == (self.since is None) or (self.until is not None and self.since is None):
            message = "either days, or since (and until)"
            raise ValueError(message)
        return self

    def span(self, now: datetime) -> tuple[datetime, datetime]:
        """Raises ``BacktestSpanInvalid``."""
        if self.days is not None:
            return now - timedelta(days=self.days), now
        assert self.since is not None
        until = min(self.until or now, now)
        if not timedelta() < until - self.since <= LONGEST or self.since < now - KEPT:
            raise BacktestSpanInvalid(pointer="/since")
        return self.since, until


class BacktestView(BaseModel):
    """A backtest. ``version`` is the draft's, as it was when asked for. ``progress`` goes from 0 to 1.

    It goes back to 0 when a process dies and another begins it again: ``attempts`` counts how often it was begun.

    ``result`` has, for the draft and for what it was compared with, how events were decided (``verdicts``), how runs ended
    (``outcomes``), what was asked for (``actions``) and ``warnings``; then ``differences`` as counts and a few ``examples`` of each kind:
    ``only_in_draft``, ``only_in_compared``, ``different_time``, ``different_parameters``. Actions are taken to succeed. A step's result
    is what it really was where the same step really ran at the event; else it is made up, and where something looks at it a warning
    ``result_made_up`` counts it. Who had been through, or was under way, when the span begins is counted as really was; runs from before it are not followed.
    """

    id: UUID
    workflow_id: UUID
    version: int
    compared_version: int | None
    since: datetime
    until: datetime
    status: str
    progress: float
    events_done: int
    events_total: int | None
    attempts: int
    error_code: str | None
    result: dict[str, Any] | None
    created_by: str
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> Self:
        total = row["events_total"]
        progress = 1.0 if row["status"] == "done" else min(row["events_done"] / total, 1.0) if total else 0.0
        names = set(cls.model_fields) - {"progress"}
        return cls(progress=progress, **{name: value for name, value in dict(row).items() if name in names})


async def ask_for_backtest(workflow_id: UUID, cmd: AskForBacktest, engine: Engine, tx: Tx) -> BacktestView:
    """Raises ``WorkflowNotFound``, ``VersionNotFound``, ``DefinitionRefused``, ``BacktestSpanInvalid``, ``BacktestUnderWay``."""
    workflow = await workflow_by_id(workflow_id, tx)
    if workflow is None:
        raise WorkflowNotFound
    since, until = cmd.span(tx.now)
    compiled_or_refused(Definition.model_validate(workflow.draft), engine)
    compared = workflow.published_version if cmd.compare_with == "published" else cmd.compare_with
    if compared is not None and not await version_exists(workflow_id, compared, tx):
        raise VersionNotFound(pointer="/compare_with")
    backtest_id = tx.new_id()
    if not await tx.value(_QUEUE, tx.practice_id, backtest_id, tx.now):
        raise BacktestUnderWay
    await tx.execute(
        _INSERT, tx.practice_id, backtest_id, workflow_id, workflow.version, json_text(workflow.draft), compared, since, until,
        tx.principal.actor, tx.now,
    )  # fmt: skip
    return BacktestView.of(await backtest_by_id(backtest_id, tx))


async def show_backtest(backtest_id: UUID, tx: Tx) -> BacktestView:
    """That its examples were read is said in the same transaction. Raises ``BacktestNotFound``."""
    row = await backtest_by_id(backtest_id, tx)
    if row is None:
        raise BacktestNotFound
    examples = [one for kind in ((row["result"] or {}).get("examples") or {}).values() for one in kind]
    if examples:
        shown = list({UUID(one["event_id"]) for one in examples})[:MOST_SHOWN]
        tx.emit(ExplanationsViewed(event_ids=shown, view="backtest"))
    return BacktestView.of(row)


async def list_backtests(workflow_id: UUID, tx: Tx, *, after: tuple[str, ...] | None, limit: int) -> list[BacktestView]:
    """Newest first, without results; one more than ``limit`` when there is more. Raises ``WorkflowNotFound``."""
    if await workflow_by_id(workflow_id, tx) is None:
        raise WorkflowNotFound
    return [BacktestView.of(row) for row in await backtests_of(workflow_id, tx, after=after, limit=limit)]


async def cancel_backtest(backtest_id: UUID, tx: Tx) -> None:
    """Whoever is at it stops within a page of events. Raises ``BacktestNotFound``, ``BacktestHasEnded``."""
    if await backtest_by_id(backtest_id, tx) is None:
        raise BacktestNotFound
    await tx.execute("DELETE FROM backtest_queue WHERE practice_id = $1 AND backtest_id = $2", tx.practice_id, backtest_id)
    if not await tx.value(_CANCEL, tx.practice_id, backtest_id, tx.now):
        raise BacktestHasEnded
