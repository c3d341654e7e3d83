"""What trying again means for a run that failed some time ago: on from where it failed, unless what it was for is over by now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from libs.common.work import Tx
from libs.contracts.scheduling import AppointmentCancelled
from services.workflows.commands.arrivals import EXIT, left_since
from services.workflows.commands.matching import find_patients_of
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.runs import SUPPRESSED
from services.workflows.queries.operations import pause_of, suppressed_among
from services.workflows.queries.runs import called_off_since, waits_for_time
from services.workflows.queries.world import Key
from services.workflows.rules.definitions.steps import WaitUntilStep
from services.workflows.rules.runs.states import Cancelled, Input, Retried
from services.workflows.rules.runs.waiting import APPOINTMENT_CANCELLED

WAITS_ALREADY = "waits_already"
"""The error code of a failed run that is not tried again because a later one waits for the appointment's time."""

_HELD = "UPDATE run SET held = true WHERE practice_id = $1 AND id = ANY($2::uuid[]) AND status = 'running' AND paused"


async def tries(rows: Mapping[Key, Mapping[str, Any]], published: PublishedWorkflows, tx: Tx) -> list[tuple[Key, Input]]:
    """What each of these failed runs is to be given. A run of a paused workflow begins held.

    While it was failed nobody told it whose its appointment is, nor what would have ended it: an exit condition that came true,
    the end of the appointment whose time it had waited for, or a move that another run took up. A run that is over so ends now
    and asks for nothing.
    """
    found = await find_patients_of(rows, tx)
    listed = await suppressed_among([(row["practice_id"], row["patient_id"]) for row in found], tx) if found else set()
    rows = {**rows, **{(row["practice_id"], row["id"]): row for row in found}}
    paused = {workflow for workflow in {row["workflow_id"] for row in rows.values()} if await pause_of(workflow, tx)}
    off = await _called_off(rows, published, tx)
    inputs: list[tuple[Key, Input]] = []
    for key, row in rows.items():
        reason = SUPPRESSED if (key[0], row["patient_id"]) in listed else APPOINTMENT_CANCELLED if key in off else None
        if reason is None and await left_since(row, row["finished_at"], published, tx):
            reason = EXIT
        if reason is None and await _taken_over(row, published, tx):
            reason = WAITS_ALREADY
        inputs.append((key, Retried(held=reason is not None or row["workflow_id"] in paused)))
        if reason is not None:
            inputs.append((key, Cancelled(reason)))
    return inputs


async def hold_tried(rows: Mapping[Key, Mapping[str, Any]], tx: Tx) -> None:
    """Those that began held belong to the backlog of their workflow."""
    await tx.execute(_HELD, tx.practice_id, [key[1] for key in rows])


async def _taken_over(row: Mapping[str, Any], published: PublishedWorkflows, tx: Tx) -> bool:
    """Whether another run of an anchored workflow waits for the time the appointment has now."""
    compiled = await published.version(row["practice_id"], row["workflow_id"], row["version"], tx)
    return compiled.anchored and row["appointment_id"] is not None and await waits_for_time(row["workflow_id"], row["appointment_id"], tx)


async def _called_off(rows: Mapping[Key, Mapping[str, Any]], published: PublishedWorkflows, tx: Tx) -> set[Key]:
    """Runs that had come to the time of an appointment, which was cancelled since they failed.

    One that was cancelled before is known to who wrote what comes after.
    """
    anchors = [
        (key[1], step.id)
        for key, row in rows.items()
        if row["appointment_id"] is not None
        for step in (await published.version(key[0], row["workflow_id"], row["version"], tx)).program
        if isinstance(step, WaitUntilStep) and step.anchor is not None
    ]
    found = await called_off_since(anchors, AppointmentCancelled.type, tx) if anchors else set()
    return {key for key in rows if key[1] in found}
