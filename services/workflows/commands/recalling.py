"""Runs of the past with what was known at the moments that matter, read in a few statements for a page of explanations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.work import Tx
from services.workflows.commands.dry_run import ReasonView
from services.workflows.commands.explained import ExplainedRun, ExplainedStep, HeardBy
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.runs import parsed
from services.workflows.queries.history import known_then, runs_of_events, runs_under_way, steps_of_runs
from services.workflows.rules.definitions.steps import LONGEST_LOOK_BACK
from services.workflows.rules.simulation.hearing import heard, looks_back_at
from services.workflows.rules.simulation.occurred import Known, Occurred
from services.workflows.rules.simulation.recalling import Asked, PastRun, PastStep, asked, asked_at, moments

MOST_RUNS = 500
"""Runs under way that a page of events is told of: the newest."""

NO_LONGER_COMPILES = "no_longer_compiles"
_Moment = tuple[UUID | None, UUID | None, datetime]


@dataclass
class Recalled:
    """``rows`` are runs, ``steps`` those of each as they began, ``runs`` what of them can be asked again."""

    rows: Mapping[UUID, Any]
    steps: Mapping[UUID, list[Any]]
    runs: Mapping[UUID, PastRun]
    _known: dict[_Moment, Known | None] = field(default_factory=dict)

    def view(self, run_id: UUID) -> ExplainedRun:
        row = self.rows[run_id]
        names = ExplainedRun.model_fields.keys() - {"steps"}
        return ExplainedRun(**{name: row[name] for name in names}, steps=[self._step(run_id, step) for step in self.steps[run_id]])

    def heard_by(self, occurred: Occurred) -> list[HeardBy]:
        """What the event meant to runs under way."""
        found: list[HeardBy] = []
        for run_id, run in self.runs.items():
            row = self.rows[run_id]
            for one in heard(run, occurred, lambda moment: self._known.get((*occurred.subjects, moment))):
                view = HeardBy(
                    workflow_id=row["workflow_id"], workflow_name=row["workflow_name"], version=row["version"], run_id=run_id,
                    step_id=one.step_id, number=one.number, verdict=one.verdict, reasons=[ReasonView.of(r) for r in one.reasons],
                    unsure=one.unsure,
                )  # fmt: skip
                found.append(view)
        return found

    def _step(self, run_id: UUID, row: Any) -> ExplainedStep:
        why = Asked(unsure=NO_LONGER_COMPILES)
        if (run := self.runs.get(run_id)) is not None:
            step = run.steps[row["step_id"]]
            moment = asked_at(run, step)
            known = self._known.get((run.patient_id, run.appointment_id, moment)) if moment is not None else None
            why = asked(run, step, known)
        names = ExplainedStep.model_fields.keys() - {"way", "reasons", "unsure"}
        reasons = [ReasonView.of(reason) for reason in why.reasons]
        return ExplainedStep(**{name: row[name] for name in names}, way=row["detail"], reasons=reasons, unsure=why.unsure)

    async def remember(self, shown: Collection[UUID], happened: Iterable[Occurred], tx: Tx) -> None:
        """What was known when conditions of the runs ``shown`` were asked, and when waits of any looked back at these events."""
        asked_again = [run for run_id, run in self.runs.items() if run_id in shown]
        wanted = {(run.patient_id, run.appointment_id, moment) for run in asked_again for moment in moments(run)}
        for occurred in happened:
            wanted |= {(*occurred.subjects, moment) for run in self.runs.values() for moment in looks_back_at(run, occurred)}
        order = list(wanted)
        rows = await known_then(order, tx) if order else []
        for moment, row in zip(order, rows, strict=True):
            seen = {name: row[name] for name in ("patient", "appointment", "practice")}
            self._known[moment] = Known.seen(seen) if row["remembered"] else None


async def recall(
    event_rows: list[Any], named: Collection[UUID], happened: list[Occurred], published: PublishedWorkflows, tx: Tx
) -> Recalled:
    """Runs these events started, runs ``named``, and runs under way about the patients and appointments of the events."""
    shown = {row["id"]: row for row in await runs_of_events([row["event_id"] for row in event_rows], list(named), tx)}
    patients, appointments = ({row[name] for row in event_rows if row[name]} for name in ("patient_id", "appointment_id"))
    span = event_rows[-1]["recorded_at"], event_rows[0]["recorded_at"]
    under_way = await runs_under_way((list(patients), list(appointments)), span, LONGEST_LOOK_BACK, MOST_RUNS, tx)
    rows = shown | {row["id"]: row for row in under_way}
    steps: dict[UUID, list[Any]] = defaultdict(list)
    for step in await steps_of_runs(list(rows), tx):
        steps[step["run_id"]].append(step)
    runs = {run_id: await _past(row, steps[run_id], published, tx) for run_id, row in rows.items()}
    recalled = Recalled(rows, steps, {run_id: run for run_id, run in runs.items() if run is not None})
    await recalled.remember(shown, happened, tx)
    return recalled


async def _past(row: Any, steps: list[Any], published: PublishedWorkflows, tx: Tx) -> PastRun | None:
    """None for a run whose version no longer compiles: it can be shown, and not be asked again."""
    try:
        compiled = await published.version(row["practice_id"], row["workflow_id"], row["version"], tx)
        data = parsed(row["event"], row["trigger_type"])
    except ValueError:
        return None
    then = {
        step["step_id"]: PastStep(
            step["step_id"], step["status"], step["detail"], step["error_code"], step["output"], step["started_at"], step["finished_at"]
        )
        for step in steps
    }
    return PastRun(
        compiled, row["trigger_event_id"], data, row["patient_id"], row["appointment_id"], row["status"],
        row["error_code"], row["started_at"], row["finished_at"], row["memory"].get("outputs", {}), then,
    )  # fmt: skip
