"""What would keep a run from starting now that is only tried out: asked of what the engine asks, and nothing is written."""

from __future__ import annotations

from uuid import UUID

from libs.common.work import Tx
from services.workflows.commands.enrolling import Candidate, admissions_for
from services.workflows.commands.happening import Happening, run_row
from services.workflows.commands.history import STARTED_ALREADY
from services.workflows.commands.published import InForce
from services.workflows.queries.operations import pause_of
from services.workflows.rules.definitions.compiling import CompiledDefinition
from services.workflows.rules.simulation.admitting import Admitting
from services.workflows.rules.simulation.occurred import Occurred
from services.workflows.rules.simulation.running import Running

PAUSED = "paused"


async def obstacles(workflow_id: UUID, version: int | None, compiled: CompiledDefinition, trigger: Occurred, tx: Tx) -> list[str]:
    """In the engine's words, as of now: it would not start, or (``paused``) begin held. How deep a chain it stands in nobody knows."""
    patient_id, appointment_id = trigger.subjects
    values = Running(compiled, trigger.id, trigger.data, trigger.known).bind({})
    key, _ = Admitting(compiled).key(patient_id, values)
    workflow = InForce(workflow_id, version or 0, "", compiled)
    happening = Happening.own(tx.practice_id, trigger.id, trigger.event, tx.now, tx.cause)
    candidate = Candidate(happening, workflow, patient_id, appointment_id, key)
    run = run_row(happening, trigger.event, workflow, 0)
    admissions = await admissions_for([candidate], [run.id], tx)
    found = [STARTED_ALREADY] if admissions.begun else []
    found += admissions.refusals(candidate, tx.now)
    return [*found, PAUSED] if await pause_of(workflow_id, tx) else found
