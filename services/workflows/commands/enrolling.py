"""Who may go through a workflow: enrolment policies, the suppression list, and one anchored run per appointment and time.

Engine transactions of one practice run one after another, so what is read here is still true when it is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from libs.common.work import Tx
from libs.contracts.workflows import AppointmentIncluded
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
ON CONFLICT (practice_id, workflow_id, key) DO UPDATE SET run_id = excluded.run_id, at = excluded.at WHERE enrolment.at <= excluded.at
"""
_KNOWN = """
SELECT t.*, EXISTS (SELECT FROM suppression s WHERE s.practice_id = t.practice_id AND s.patient_id = t.patient_id) AS suppressed, (
  SELECT count(*) FROM (
    SELECT FROM run r WHERE r.practice_id = t.practice_id AND r.patient_id = t.patient_id AND r.workflow_id = t.workflow_id AND r.started_at > $5
      AND r.trigger_type <> $6 LIMIT 50) r) AS times,
  (SELECT started_at FROM run r WHERE r.practice_id = t.practice_id AND r.id = t.run_id) AS begun
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[]) AS t (practice_id, workflow_id, patient_id, run_id)
"""
_NOBODY = """
SELECT t.*, (SELECT count(*) FROM (
  SELECT FROM run r WHERE r.practice_id = t.practice_id AND r.workflow_id = t.workflow_id AND r.patient_id IS NULL AND r.started_at > $3
    AND r.trigger_type <> $4 LIMIT 1020) r) AS times
FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, workflow_id)
"""
OFTEN = 30
"""Runs of one workflow for one patient in ``SPAN``. More is a loop that goes round outside, where no depth is counted."""

OFTEN_NOBODY = 1000
"""Runs of one workflow about no patient in ``SPAN``: calls from outside and bookings nobody is matched to may be many."""

SPAN = timedelta(hours=1)
TOO_OFTEN = "too_often"
_NO_LOOP = AppointmentIncluded.type
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
    def often(self) -> int:
        return OFTEN if self.patient_id is not None else OFTEN_NOBODY

    @property
    def counts(self) -> bool:
        """Whether it may be part of a loop. Appointments taken up at a publication are as many as there are: a year of weekly ones."""
        return not isinstance(self.happening.data, AppointmentIncluded)

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
    entered: list[tuple[Triple, UUID, datetime]] = field(default_factory=list)
    often: Counter[Triple] = field(default_factory=Counter)
    begun: dict[UUID, datetime] = field(default_factory=dict)
    """Of the runs that would start, those there are, and since when."""

    def refusal(self, candidate: Candidate, now: datetime) -> str | None:
        """Why the candidate may not go through now; None when it may."""
        return next(self.refusals(candidate, now), None)

    def refusals(self, candidate: Candidate, now: datetime) -> Iterator[str]:
        """Every reason, what counts first first."""
        if candidate.patient_id and (candidate.happening.practice_id, candidate.patient_id) in self.suppressed:
            yield "suppressed"
        if candidate.anchored and candidate.with_(candidate.appointment_id) in self.at_anchor:
            yield "waits_already"
        if candidate.counts and self.often[candidate.with_(candidate.patient_id)] >= candidate.often:
            yield TOO_OFTEN
        policy = candidate.policy
        if policy.policy == "once_while_active" and candidate.patient_id and candidate.with_(candidate.patient_id) in self.active:
            yield "active_already"
        last = self.enrolled.get(candidate.with_(candidate.key)) if candidate.key is not None else None
        if last is not None and (policy.again_after is None or now < last + policy.again_after):
            yield "enrolled_already"

    def enter(self, candidate: Candidate, run_id: UUID, now: datetime) -> None:
        """The candidate goes through."""
        self.count(candidate)
        if candidate.anchored:
            self.at_anchor.add(candidate.with_(candidate.appointment_id))
        if candidate.policy.policy == "once_while_active":
            self.active.add(candidate.with_(candidate.patient_id))
        self.owns(candidate, run_id, now)

    def owns(self, candidate: Candidate, run_id: UUID, at: datetime) -> None:
        """Who is enrolled is enrolled with this run, since it began: hearing of it again makes it no later."""
        if candidate.key is not None:
            key = candidate.with_(candidate.key)
            self.enrolled[key] = max(at, self.enrolled.get(key, at))
            self.entered.append((key, run_id, at))

    def count(self, candidate: Candidate) -> int:
        """How many runs of the workflow its patient, or nobody, came to with this one; 0 for one that does not count."""
        if not candidate.counts:
            return 0
        self.often[candidate.with_(candidate.patient_id)] += 1
        return self.often[candidate.with_(candidate.patient_id)]

    async def flush(self, tx: Tx) -> None:
        if self.entered:
            latest = {triple: (run_id, at) for triple, run_id, at in sorted(self.entered, key=lambda one: one[2])}
            triples = list(latest)
            await tx.execute(
                _ENROL,
                [t[0] for t in triples],
                [t[1] for t in triples],
                [t[2] for t in triples],
                [run_id for run_id, _ in latest.values()],
                [at for _, at in latest.values()],
            )


async def admissions_for(candidates: list[Candidate], run_ids: list[UUID], tx: Tx) -> Admissions:
    """What decides about these candidates, each with the run it would start: one statement, and up to four that policies or runs about nobody ask for."""
    found = Admissions()
    if candidates:
        wanted = [c.with_(c.patient_id) for c in candidates]
        for row in await tx.rows(_KNOWN, *([one[place] for one in wanted] for place in range(3)), run_ids, tx.now - SPAN, _NO_LOOP):
            found.often[row["practice_id"], row["workflow_id"], row["patient_id"]] = row["times"]
            if row["suppressed"]:
                found.suppressed.add((row["practice_id"], row["patient_id"]))
            if row["begun"] is not None:
                found.begun[row["run_id"]] = row["begun"]
    nobody = sorted({c.with_(None)[:2] for c in candidates if c.patient_id is None and c.counts})
    if nobody:
        ids = [practice for practice, _ in nobody], [workflow for _, workflow in nobody]
        for row in await tx.rows(_NOBODY, *ids, tx.now - SPAN, _NO_LOOP):
            found.often[row["practice_id"], row["workflow_id"], None] = row["times"]
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
