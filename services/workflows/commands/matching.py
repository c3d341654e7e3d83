"""Runs about an appointment that was nobody's find its patient, and are about them from here on."""

from __future__ import annotations

from collections.abc import Collection

from asyncpg import Record

from libs.common.work import Tx
from services.workflows.commands.published import PublishedWorkflows, VersionBroken
from services.workflows.commands.rows import run_of, state_of
from services.workflows.commands.writes import Wait, exits_of
from services.workflows.queries.world import Key
from services.workflows.rules.definitions.steps import WaitForStep

_FOUND = """
UPDATE run r SET patient_id = a.patient_id, event = r.event || jsonb_build_object('patient_id', a.patient_id)
FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, id) JOIN appointment a USING (practice_id, id)
WHERE r.practice_id = a.practice_id AND r.appointment_id = a.id AND r.patient_id IS NULL AND a.patient_id IS NOT NULL AND r.status = 'running'
RETURNING r.*
"""
_FOUND_LATER = """
UPDATE run r SET patient_id = a.patient_id, event = r.event || jsonb_build_object('patient_id', a.patient_id)
FROM unnest($1::uuid[], $2::uuid[]) AS t (practice_id, id), appointment a
WHERE r.practice_id = t.practice_id AND r.id = t.id AND r.patient_id IS NULL AND r.status <> 'running'
  AND a.practice_id = r.practice_id AND a.id = r.appointment_id AND a.patient_id IS NOT NULL
RETURNING r.*
"""
_TELL = """
INSERT INTO event_wait SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::text[], $6::uuid[])
ON CONFLICT (practice_id, run_id, step_id, number) DO UPDATE SET subject = excluded.subject
"""


async def find_patients(appointments: Collection[Key], published: PublishedWorkflows, tx: Tx) -> list[Record]:
    """Of the runs that go on for these appointments those that had no patient, with the one that is known now.

    What they wait for they hear of that patient: their exit conditions, and the events of a wait that had nobody to hear of.
    """
    rows = await tx.rows(_FOUND, [key[0] for key in appointments], [key[1] for key in appointments])
    await tell_of(rows, published, tx)
    return rows


async def tell_of(rows: list[Record], published: PublishedWorkflows, tx: Tx) -> None:
    """Which events these runs wait for, about whom. One whose version compiles no more hears of it when it compiles again."""
    waits = [wait for row in rows for wait in await _waits(row, published, tx)]
    if waits:
        await tx.execute(
            _TELL, [run.practice_id for run, *_ in waits], [run.id for run, *_ in waits], [step for _, step, *_ in waits],
            [number for _, _, number, _, _ in waits], [event for *_, event, _ in waits], [subject for *_, subject in waits],
        )  # fmt: skip


async def find_patients_of(runs: Collection[Key], tx: Tx) -> list[Record]:
    """The same for runs that have ended and are to go on. They wait for nothing."""
    return await tx.rows(_FOUND_LATER, [key[0] for key in runs], [key[1] for key in runs])


async def _waits(row: Record, published: PublishedWorkflows, tx: Tx) -> list[Wait]:
    try:
        compiled = await published.version(row["practice_id"], row["workflow_id"], row["version"], tx)
    except VersionBroken:
        return []
    run, state = run_of(row, awaits=bool(compiled.awaited)), state_of(row)
    here = compiled.program[state.cursor] if state.waiting and state.cursor < len(compiled.program) else None
    waits = exits_of(run, compiled)
    if isinstance(here, WaitForStep) and (subject := run.about(here.about)) is not None:
        waits += [(run, here.id, number, awaited.event, subject) for number, awaited in enumerate(here.events)]
    return waits
