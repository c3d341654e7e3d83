"""What was known when an event was handled, also of events of which that was not written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from libs.common.work import Tx, json_text
from libs.contracts.patients import PatientRegistered, PatientTagged, PatientUntagged, PatientUpdated
from services.workflows.queries.world import patients, practices

_NEWS = [kind.type for kind in (PatientRegistered, PatientUpdated, PatientTagged, PatientUntagged)]
_AROUND = """
SELECT b.seen, EXISTS (SELECT FROM event_log WHERE practice_id = $1 AND patient_id = t.patient_id AND recorded_at > t.at AND type = ANY($4::text[])) AS changed
FROM unnest($2::uuid[], $3::timestamptz[]) WITH ORDINALITY AS t (patient_id, at, place)
LEFT JOIN LATERAL (SELECT seen FROM event_log WHERE practice_id = $1 AND patient_id = t.patient_id AND recorded_at <= t.at AND seen <> '{}'
  ORDER BY recorded_at DESC LIMIT 1) b ON true
ORDER BY t.place
"""


async def with_seen(practice: UUID, rows: Sequence[Mapping[str, Any]], tx: Tx) -> list[Mapping[str, Any]]:
    """Rows of the event log of a practice, each with what was known of its patient and of the practice.

    Of an occasion that a filter kept out it is found again: from the event about the patient before it, or, while no news of the patient
    came since, from what is known now. ``seen`` is empty where neither tells.
    """
    spared = [row for row in rows if not row["seen"] and row["patient_id"] is not None]
    if not spared:
        return list(rows)
    around = await tx.rows(_AROUND, practice, [row["patient_id"] for row in spared], [row["recorded_at"] for row in spared], _NEWS)
    now = await patients([(practice, row["patient_id"]) for row in spared], tx)
    house = (await practices([practice], tx))[practice]
    found: dict[Any, Mapping[str, Any]] = {}
    for row, then in zip(spared, around, strict=True):
        patient = now.get((practice, row["patient_id"]))
        if then["seen"] is not None:
            found[row["event_id"]] = {**then["seen"], "appointment": None}
        elif patient is not None and not then["changed"]:
            found[row["event_id"]] = orjson.loads(json_text({"patient": patient, "appointment": None, "practice": house}))
    return [{**row, "seen": found.get(row["event_id"], row["seen"])} for row in rows]
