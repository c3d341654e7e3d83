"""The shape of asking a service to act, and of its answer. Each owner declares its own pair.

The effect key names one action of one run for ever: the owner performs it once, the provider sees it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from libs.contracts.envelope import Command, Description, Event
from libs.contracts.marks import Personal


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class ActionError(BaseModel):
    """Why an action did not succeed. ``message`` is written for a person and carries no personal data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    message: str
    retryable: bool = False


class ActionRequest(Command):
    """Do this once. Declared by each owner as ``PerformAction``."""

    effect_key: UUID
    action: str
    run_id: UUID
    step_id: str
    patient_id: UUID | None = None
    parameters: Personal[dict[str, Any]] = Field(default_factory=dict)


class EffectLeft(Command):
    """Leave this effect alone: a person has said what became of it. Declared as ``LeaveEffect`` by owners whose actions leave the house.

    It is looked up no more, and never performed again. What is heard of it by itself is still said.
    """

    effect_key: UUID
    action: str
    run_id: UUID
    step_id: str


class ActionResult(Event):
    """What became of one effect. Declared by each owner as ``ActionFinished``; at most one per final outcome.

    ``unknown`` may later be followed by ``succeeded`` or ``failed`` for the same effect key.
    """

    effect_key: UUID
    action: str
    run_id: UUID
    step_id: str
    outcome: Outcome
    error: ActionError | None = None
    result: dict[str, Any] = Field(default_factory=dict)


class ActionDescribed(Description, type="vantage.workflows.action-described.v1", subject="action/{name}"):
    """One entry of the action catalogue: what an owner offers to workflows. JSON Schemas, draft 2020-12.

    ``causes``: the types of the events that performing it may bring about. ``needs_person``: it fails for a run that is about nobody.
    """

    name: str
    owner_service: str
    title: str
    help: str
    parameters_schema: dict[str, Any]
    result_schema: dict[str, Any]
    idempotent: bool
    lookup: bool
    personal_data: list[str]
    causes: list[str] = Field(default_factory=list)
    needs_person: bool = False
