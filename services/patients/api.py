"""The HTTP door of patients."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from libs.common.auth import Permission
from libs.common.http import CursorQuery, DoorDep, IfMatch, LimitQuery, Page, Routes, needs
from services.patients.commands.filters import (
    ChangeFilter,
    FilterView,
    SaveFilter,
    change_filter,
    list_filters,
    remove_filter,
    save_filter,
    show_filter,
)
from services.patients.commands.notes import AddNote, NoteView, add_note, remove_note, show_notes
from services.patients.commands.records import (
    PatientView,
    RegisterPatient,
    UpdatePatient,
    list_patients,
    register_patient,
    show_patient,
    update_patient,
)
from services.patients.commands.tags import AddTag, PracticeTagView, TagNotFound, TagView, add_tag, list_tags, remove_tag, show_tags
from services.patients.commands.timeline import TimelineView, show_timeline

FilterQuery = Annotated[UUID | None, Query(description="Only patients this saved filter finds now.")]


def routes() -> Routes:
    router = Routes(tags=["patients"])

    @router.post("/v1/patients", status_code=201, response_model=PatientView, **needs(Permission.PATIENTS_WRITE))
    async def register(cmd: RegisterPatient, door: DoorDep) -> Response:
        """Register a patient."""
        async with door.work() as tx:
            view = await register_patient(cmd, tx)
            return await door.answer(tx, view, status=201, headers={"ETag": f'"{view.version}"', "Location": f"/v1/patients/{view.id}"})

    @router.get("/v1/patients", response_model=Page[PatientView], **needs(Permission.PATIENTS_READ))
    async def list_page(
        door: DoorDep, saved_filter: FilterQuery = None, limit: LimitQuery = 50, cursor: CursorQuery = None
    ) -> Page[PatientView]:
        """List patients by name, all or those a saved filter finds. The reading is recorded."""
        async with door.work() as tx:
            views = await list_patients(tx, after=door.position(cursor), limit=limit, saved_filter=saved_filter)
            return door.page(views, limit, lambda view: (view.family_name, view.given_name, view.id))

    @router.get("/v1/patients/{patient_id}", response_model=PatientView, **needs(Permission.PATIENTS_READ))
    async def show(patient_id: UUID, door: DoorDep) -> Response:
        """Show a patient. The reading is recorded."""
        async with door.work() as tx:
            view = await show_patient(patient_id, tx)
            return await door.answer(tx, view, headers={"ETag": f'"{view.version}"'})

    @router.patch("/v1/patients/{patient_id}", response_model=PatientView, **needs(Permission.PATIENTS_WRITE))
    async def update(patient_id: UUID, cmd: UpdatePatient, door: DoorDep, if_match: IfMatch) -> Response:
        """Change fields of a patient. With If-Match, only when nobody changed it meanwhile."""
        async with door.work() as tx:
            view = await update_patient(patient_id, cmd, tx, if_version=if_match)
            return await door.answer(tx, view, headers={"ETag": f'"{view.version}"'})

    @router.get("/v1/patients/{patient_id}/timeline", response_model=Page[TimelineView], **needs(Permission.PATIENTS_READ))
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

    _tags(router)
    _notes(router)
    _filters(router)
    return router


def _tags(router: Routes) -> None:
    @router.get("/v1/tags", response_model=Page[PracticeTagView], **needs(Permission.PATIENTS_READ))
    async def tags(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[PracticeTagView]:
        """The practice's tags by name, and how many patients have each."""
        async with door.work() as tx:
            views = await list_tags(tx, after=door.position(cursor), limit=limit)
            return door.page(views, limit, lambda view: (view.name, view.id))

    @router.get("/v1/patients/{patient_id}/tags", response_model=list[TagView], **needs(Permission.PATIENTS_READ))
    async def tags_of_patient(patient_id: UUID, door: DoorDep) -> list[TagView]:
        """A patient's tags by name; there are at most 50. The reading is recorded."""
        async with door.work() as tx:
            return await show_tags(patient_id, tx)

    @router.post("/v1/patients/{patient_id}/tags", response_model=TagView, **needs(Permission.PATIENTS_WRITE))
    async def tag(patient_id: UUID, cmd: AddTag, door: DoorDep) -> Response:
        """Give a patient a tag. A new word becomes a new tag of the practice; a patient who has it keeps it."""
        async with door.work() as tx:
            view, _ = await add_tag(patient_id, cmd, tx)
            return await door.answer(tx, view)

    @router.delete("/v1/patients/{patient_id}/tags/{tag_id}", status_code=204, **needs(Permission.PATIENTS_WRITE))
    async def untag(patient_id: UUID, tag_id: UUID, door: DoorDep) -> Response:
        """Take a tag from a patient."""
        async with door.work() as tx:
            if not await remove_tag(patient_id, tag_id, tx):
                raise TagNotFound
            return await door.answer(tx, None, status=204)


def _notes(router: Routes) -> None:
    @router.get("/v1/patients/{patient_id}/notes", response_model=Page[NoteView], **needs(Permission.PATIENTS_READ))
    async def notes(patient_id: UUID, door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[NoteView]:
        """Notes about a patient, newest first. The reading is recorded."""
        async with door.work() as tx:
            views = await show_notes(patient_id, tx, after=door.position(cursor), limit=limit)
            return door.page(views, limit, lambda view: (view.id,))

    @router.post("/v1/patients/{patient_id}/notes", status_code=201, response_model=NoteView, **needs(Permission.PATIENTS_WRITE))
    async def note(patient_id: UUID, cmd: AddNote, door: DoorDep) -> Response:
        """Write a note about a patient. Notes are not changed afterwards."""
        async with door.work() as tx:
            return await door.answer(tx, await add_note(patient_id, cmd, tx), status=201)

    @router.delete("/v1/patients/{patient_id}/notes/{note_id}", status_code=204, **needs(Permission.PATIENTS_WRITE))
    async def unnote(patient_id: UUID, note_id: UUID, door: DoorDep) -> Response:
        """Take back a note that was written by mistake: it is no longer shown."""
        async with door.work() as tx:
            await remove_note(patient_id, note_id, tx)
            return await door.answer(tx, None, status=204)


def _filters(router: Routes) -> None:
    @router.post("/v1/patient-filters", status_code=201, response_model=FilterView, **needs(Permission.FILTERS_WRITE))
    async def save(cmd: SaveFilter, door: DoorDep) -> Response:
        """Keep a filter over patients under a name: for oneself, or shared with the practice."""
        async with door.work() as tx:
            view = await save_filter(cmd, tx)
            headers = {"ETag": f'"{view.version}"', "Location": f"/v1/patient-filters/{view.id}"}
            return await door.answer(tx, view, status=201, headers=headers)

    @router.get("/v1/patient-filters", response_model=Page[FilterView], **needs(Permission.FILTERS_READ))
    async def filters(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[FilterView]:
        """The practice's shared filters and one's own by name. The reading is recorded."""
        async with door.work() as tx:
            views = await list_filters(tx, after=door.position(cursor), limit=limit)
            return door.page(views, limit, lambda view: (view.name, view.id))

    @router.get("/v1/patient-filters/{filter_id}", response_model=FilterView, **needs(Permission.FILTERS_READ))
    async def show_one(filter_id: UUID, door: DoorDep) -> Response:
        """Show a saved filter. Somebody else's private one is not there. The reading is recorded."""
        async with door.work() as tx:
            view = await show_filter(filter_id, tx)
            return await door.answer(tx, view, headers={"ETag": f'"{view.version}"'})

    @router.patch("/v1/patient-filters/{filter_id}", response_model=FilterView, **needs(Permission.FILTERS_WRITE))
    async def change(filter_id: UUID, cmd: ChangeFilter, door: DoorDep, if_match: IfMatch) -> Response:
        """Change a saved filter. With If-Match, only when nobody changed it meanwhile."""
        async with door.work() as tx:
            view = await change_filter(filter_id, cmd, tx, if_version=if_match)
            return await door.answer(tx, view, headers={"ETag": f'"{view.version}"'})

    @router.delete("/v1/patient-filters/{filter_id}", status_code=204, **needs(Permission.FILTERS_WRITE))
    async def remove(filter_id: UUID, door: DoorDep, if_match: IfMatch) -> Response:
        """Remove a saved filter. Runs that were started by it, and jobs that are at it, go on as they began."""
        async with door.work() as tx:
            await remove_filter(filter_id, tx, if_version=if_match)
            return await door.answer(tx, None, status=204)
