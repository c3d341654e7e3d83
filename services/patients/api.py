"""The HTTP door of patients."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from libs.common.auth import Permission
from libs.common.http import CursorQuery, DoorDep, IfMatch, LimitQuery, Page, Routes, needs
from services.patients.commands.records import (
    PatientView,
    RegisterPatient,
    UpdatePatient,
    list_patients,
    register_patient,
    show_patient,
    update_patient,
)
from services.patients.commands.timeline import TimelineView, show_timeline


def routes() -> Routes:
    router = Routes(prefix="/v1/patients", tags=["patients"])

    @router.post("", status_code=201, response_model=PatientView, **needs(Permission.PATIENTS_WRITE))
    async def register(cmd: RegisterPatient, door: DoorDep) -> Response:
        """Register a patient."""
        async with door.work() as tx:
            view = await register_patient(cmd, tx)
            return await door.answer(tx, view, status=201, headers={"ETag": f'"{view.version}"', "Location": f"/v1/patients/{view.id}"})

    @router.get("", response_model=Page[PatientView], **needs(Permission.PATIENTS_READ))
    async def list_page(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[PatientView]:
        """List patients by name. The reading is recorded."""
        async with door.work() as tx:
            views = await list_patients(tx, after=door.position(cursor), limit=limit)
            return door.page(views, limit, lambda view: (view.family_name, view.given_name, view.id))

    @router.get("/{patient_id}", response_model=PatientView, **needs(Permission.PATIENTS_READ))
    async def show(patient_id: UUID, door: DoorDep) -> Response:
        """Show a patient. The reading is recorded."""
        async with door.work() as tx:
            view = await show_patient(patient_id, tx)
            return await door.answer(tx, view, headers={"ETag": f'"{view.version}"'})

    @router.patch("/{patient_id}", response_model=PatientView, **needs(Permission.PATIENTS_WRITE))
    async def update(patient_id: UUID, cmd: UpdatePatient, door: DoorDep, if_match: IfMatch) -> Response:
        """Change fields of a patient. With If-Match, only when nobody changed it meanwhile."""
        async with door.work() as tx:
            view = await update_patient(patient_id, cmd, tx, if_version=if_match)
            return await door.answer(tx, view, headers={"ETag": f'"{view.version}"'})

    @router.get("/{patient_id}/timeline", response_model=Page[TimelineView], **needs(Permission.PATIENTS_READ))
    async def timeline(
        patient_id: UUID,
        door: DoorDep,
        kind: Annotated[list[str] | None, Query(max_length=20)] = None,
        limit: LimitQuery = 50,
        cursor: CursorQuery = None,
    ) -> Page[TimelineView]:
        """Everything that happened to a patient, newest first. The reading is recorded."""
        async with door.work() as tx:
            entries = await show_timeline(patient_id, tx, kinds=kind, after=door.position(cursor), limit=limit)
            return door.page(entries, limit, lambda entry: (entry.at.isoformat(), entry.id))

    return router
