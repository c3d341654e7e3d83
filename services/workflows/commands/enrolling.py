"""Who may go through a workflow: enrolment policies, the suppression list, and one anchored run per appointment and time.

Engine transactions of one practice run one after another, so what is read here is still true when it is written.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from libs.common.work import Tx
from services.workflows.commands.happening import Happening
from services.workflows.commands.published import InForce
from services.workflows.rules.definitions.definition import Enrolment

_ACTIVE = """
SELECT DISTINCT r.practice_id, r.workflow_id, r.patient_id FROM run r
JOIN unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS t (practice_id, workflow_id, patient_id) USING (practice_id, workflow_id, patient_id)
WHERE r.status = 'running'
"""
_ENROLLED = """
SELECT e.practice_id, e.workflow_id, e.key, e.at FROM enrolment e
JOIN unnest($1::uuid[], $2::uuid[], $3::text[]) AS t (practice_id, workflow_id, key) USING (practice_id, workflow_id, key)
LEFT JOIN run r ON r.practice_id = e.practice_id AND r.id = e.run_id
WHERE (r.status = 'cancelled' AND r.cursor = 0 AND r.error_code = 'appointment_cancelled') IS NOT TRUE
"""
"""Whose appointment was cancelled before its time came has not been through."""
_AT_ANCHOR = """
SELECT r.practice_id, r.workflow_id, r.appointment_id FROM run r
JOIN unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS t (practice_id, workflow_id, appointment_id) USING (practice_id, workflow_id, appointment_id)
WHERE r.status = 'running' AND r.cursor = 0
"""
_ENROL = """
INSERT INTO enrolment SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::timestamptz[])
ON CONFLICT (practice_id, workflow_id, key) DO UPDATE SET run_id = excluded.run_id, at = excluded.at
"""
_KNOWN = """
SELECT t.*, EXISTS (SELECT FROM suppression s WHERE s.practice_id = t.practice_id AND s.patient_id = t.patient_id) AS suppressed, (
  SELECT count(*) FROM (
    SELECT FROM run r WHERE r.practice_id = t.practice_id AND r.patient_id = t.patient_id AND r.workflow_id = t.workflow_id AND r.started_at > $4
    LIMIT 50) r) AS times
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS t (practice_id, workflow_id, patient_id)
"""
OFTEN = 30
"""Runs of one workflow for one patient in ``SPAN``. More is a loop that goes round outside, where no depth is counted."""

SPAN = timedelta(hours=1)
TOO_OFTEN = "too_often"
EVERY = Enrolment()
Triple = tuple[UUID, UUID, Any]


@dataclass(frozen=True)
class Candidate:
    """A run that would start if its patient may go through. ``key`` as the policy wants it; None is not limited."""

    happening: Happening
    workflow: InForce
    patient_id: UUID | None
    appointment_id: UUID | None
    key: str | None = None

    @property
    def policy(self) -> Enrolment:
        assert self.workflow.compiled is not None
        return self.workflow.compiled.definition.enrolment or EVERY

    @property
    def anchored(self) -> bool:
        return self.workflow.compiled is not None and self.workflow.compiled.anchored

    def with_(self, value: Any) -> Triple:
        return self.happening.practice_id, self.workflow.workflow_id, value


@dataclass
class Admissions:
    """What is known about candidates, kept up to date while they are let in one after another."""

    suppressed: set[tuple[UUID, UUID]] = field(default_factory=set)
    active: set[Triple] = field(default_factory=set)
    enrolled: dict[Triple, datetime] = field(default_factory=dict)
    at_anchor: set[Triple] = field(default_factory=set)
    entered: list[tuple[Triple, UUID]] = field(default_factory=list)
    often: Counter[Triple] = field(default_factory=Counter)

    def refusal(self, candidate: Candidate, now: datetime) -> str | None:
        """Why the candidate may not go through now; None when it may."""
        if candidate.patient_id and (candidate.happening.practice_id, candidate.patient_id) in self.suppressed:
            return "suppressed"
        if candidate.anchored and candidate.with_(candidate.appointment_id) in self.at_anchor:
            return "waits_already"
        if self.often[candidate.with_(candidate.patient_id)] >= OFTEN:
            return TOO_OFTEN
        policy = candidate.policy
        if policy.policy == "once_while_active" and candidate.patient_id and candidate.with_(candidate.patient_id) in self.active:
            return "active_already"
        last = self.enrolled.get(candidate.with_(candidate.key)) if candidate.key is not None else None
        if last is not None and (policy.again_after is None or now < last + policy.again_after):
            return "enrolled_already"
        return None

    def enter(self, candidate: Candidate, run_id: UUID, now: datetime) -> None:
        """The candidate goes through."""
        self.count(candidate)
        if candidate.anchored:
            self.at_anchor.add(candidate.with_(candidate.appointment_id))
        if candidate.policy.policy == "once_while_active":
            self.active.add(candidate.with_(candidate.patient_id))
        if candidate.key is not None:
            self.enrolled[candidate.with_(candidate.key)] = now
            self.entered.append((candidate.with_(candidate.key), run_id))

    def count(self, candidate: Candidate) -> int:
        """How many runs of the workflow its patient came to with this one; 0 for one about nobody."""
        if candidate.patient_id is None:
            return 0
        self.often[candidate.with_(candidate.patient_id)] += 1
        return self.often[candidate.with_(candidate.patient_id)]

    async def flush(self, tx: Tx) -> None:
        if self.entered:
            latest = dict(self.entered)
            triples = list(latest)
            await tx.execute(
                _ENROL,
                [t[0] for t in triples],
                [t[1] for t in triples],
                [t[2] for t in triples],
                list(latest.values()),
                [tx.now] * len(triples),
            )


async def admissions_for(candidates: list[Candidate], tx: Tx) -> Admissions:
    """What decides about these candidates: at most four statements, each only when a patient or somebody's policy asks."""
    found = Admissions()
    wanted = sorted({c.with_(c.patient_id) for c in candidates if c.patient_id is not None})
    if wanted:
        for row in await tx.rows(_KNOWN, *([one[place] for one in wanted] for place in range(3)), tx.now - SPAN):
            found.often[row["practice_id"], row["workflow_id"], row["patient_id"]] = row["times"]
            if row["suppressed"]:
                found.suppressed.add((row["practice_id"], row["patient_id"]))
    active = {c.with_(c.patient_id) for c in candidates if c.policy.policy == "once_while_active" and c.patient_id is not None}
    found.active = {tuple(row) for row in await _select(_ACTIVE, active, tx)}
    keys = {c.with_(c.key) for c in candidates if c.key is not None}
    found.enrolled = {(row["practice_id"], row["workflow_id"], row["key"]): row["at"] for row in await _select(_ENROLLED, keys, tx)}
    anchored = {c.with_(c.appointment_id) for c in candidates if c.anchored and c.appointment_id is not None}
    found.at_anchor = {tuple(row) for row in await _select(_AT_ANCHOR, anchored, tx)}
    return found


async def _select(sql: str, triples: set[Triple], tx: Tx) -> list[Any]:
    wanted = sorted(triples)
    return await tx.rows(sql, *([one[place] for one in wanted] for place in range(3))) if wanted else []
