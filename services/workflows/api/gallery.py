"""Over HTTP: ready workflows to take over."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Response

from libs.common.auth import Permission
from libs.common.http import DoorDep, Page, Routes, needs
from services.workflows.api.definitions import etag
from services.workflows.commands.definitions import WorkflowView
from services.workflows.commands.gallery import (
    GalleryEntryDetail,
    GalleryEntryView,
    UseGalleryEntry,
    list_gallery,
    show_gallery_entry,
    use_gallery_entry,
)
from services.workflows.rules.gallery import Category

GalleryId = Annotated[str, Path(max_length=50)]


def gallery_routes() -> Routes:
    router = Routes(prefix="/v1/gallery", tags=["workflows"])

    @router.get("", response_model=Page[GalleryEntryView], **needs(Permission.WORKFLOWS_READ))
    async def list_all(door: DoorDep, category: Category | None = None) -> Page[GalleryEntryView]:
        """List the workflows that are ready to be used, on one page."""
        async with door.work() as tx:
            return Page(items=await list_gallery(category, tx))

    @router.get("/{gallery_id}", response_model=GalleryEntryDetail, **needs(Permission.WORKFLOWS_READ))
    async def show(gallery_id: GalleryId, door: DoorDep) -> Response:
        """Show one with its definition as it would be taken over."""
        async with door.work() as tx:
            return await door.answer(tx, await show_gallery_entry(gallery_id, tx))

    @router.post("/{gallery_id}/use", status_code=201, response_model=WorkflowView, **needs(Permission.WORKFLOWS_WRITE))
    async def use(gallery_id: GalleryId, door: DoorDep, cmd: UseGalleryEntry | None = None) -> Response:
        """Make a draft of it. Practice admins only; nothing runs before it is published."""
        async with door.work() as tx:
            view = await use_gallery_entry(gallery_id, cmd or UseGalleryEntry(), tx)
            return await door.answer(tx, view, status=201, headers=etag(view))

    return router
