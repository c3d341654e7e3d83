"""What an explanation looks like."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from services.workflows.commands.dry_run import ReasonView


class ExplainedStep(BaseModel):
    """``reasons``: the conditions asked there, up to the one that decided: of a branch its cases, of an action its ``when``, of
    ``@condition`` (or of ``@anchor``, where it held) the workflow's own at the time it was about. ``way``: which a branch took.

    ``unsure``: ``differs`` when these values lead elsewhere than the run went, ``forgotten`` when what was known then is no longer
    remembered, ``no_longer_compiles`` when the version does not.
    """

    step_id: str
    kind: str
    status: str
    action: str | None
    way: str | None
    due_at: datetime | None
    error_code: str | None
    started_at: datetime
    finished_at: datetime | None
    reasons: list[ReasonView]
    unsure: str | None


class ExplainedRun(BaseModel):
    """What came of a decision. ``error_code`` is ``suppressed`` when it ended because its patient was put on the suppression list."""

    id: UUID
    status: str
    paused: bool
    error_code: str | None
    started_at: datetime
    finished_at: datetime | None
    steps: list[ExplainedStep]


class Considered(BaseModel):
    """One workflow at one event.

    ``verdict``: ``started``; ``started_already`` (by an earlier event about the same booking); ``filtered``; ``suppressed``,
    ``enrolled_already``, ``active_already``, ``waits_already``, ``bulk``, ``overlap`` (a run of the schedule goes on), ``too_often``;
    ``loop_stopped``, ``condition_error:…``, ``key_error:…``, ``definition_invalid`` (a failed run says so);
    ``not_in_force`` (it would have been started by such an event, but was not published then); ``other_trigger``.
    ``version`` is the one that decided. ``published_at`` is when a workflow not in force was published afterwards.

    ``filter`` and ``key`` (by which it lets somebody in once) are what that version comes to, on what was known then. ``unsure``:
    ``differs`` when that is not what was decided, ``no_longer_compiles``.
    """

    workflow_id: UUID
    workflow_name: str
    version: int | None
    trigger: str
    trigger_matches: bool
    verdict: str
    filter: list[ReasonView]
    key: list[ReasonView]
    unsure: str | None = None
    published_at: datetime | None = None
    runs: list[ExplainedRun]


class HeardBy(BaseModel):
    """A run under way that listened for such an event: a step that waited, or (``@exit``) what ends it; the ``number``-th of its events.

    ``verdict``: ``counted`` (it went on, or ended); ``did_not_match`` or ``condition_error:…``, with ``reasons``; ``about_another``
    (appointment or patient); ``too_early`` (before the wait, further than it looks back), ``too_late`` (the wait was over);
    ``passed_over``: what moves a run on is not what it then waits for, and of several the first counts.
    ``unsure`` as of a step.
    """

    workflow_id: UUID
    workflow_name: str
    version: int
    run_id: UUID
    step_id: str
    number: int
    verdict: str
    reasons: list[ReasonView]
    unsure: str | None


class Explanation(BaseModel):
    """One event. ``at`` is when it happened, ``recorded_at`` when it was handled; what was known then is in ``seen`` (null: not known).

    ``heard_by``: what it meant to runs under way that listened for such an event, about its patient or appointment.
    """

    event_id: UUID
    type: str
    at: datetime
    recorded_at: datetime
    patient_id: UUID | None
    appointment_id: UUID | None
    event: dict[str, Any]
    seen: dict[str, Any]
    workflows: list[Considered]
    heard_by: list[HeardBy]
