"""Take a workflow from the gallery: what is filled in becomes a draft of the practice's own."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, StringConstraints

from libs.common.command import Command, Line
from libs.common.errors import NotFound
from libs.common.work import Tx
from services.workflows.commands.checks import DefinitionRefused, read, refuse, save_findings
from services.workflows.commands.definitions import SaveWorkflow, WorkflowView, create_workflow
from services.workflows.queries.definitions import catalogue
from services.workflows.rules.gallery import GALLERY, Blank, Category, Entry, Kind, ValuesInvalid, filled, place_of
from services.workflows.rules.gallery.entry import MAX_VALUE

Value = Annotated[str, StringConstraints(min_length=1, max_length=MAX_VALUE)]


class GalleryEntryNotFound(NotFound):
    """The gallery has no such workflow."""


class UseGalleryEntry(Command):
    """``values`` by the names of the entry's parameters; what is left out stays as it is shown."""

    name: Line | None = None
    values: Annotated[dict[str, Value], Field(max_length=20)] = Field(default_factory=dict)


class ParameterView(BaseModel):
    """Something to fill in. ``kind`` says how it is written: a line, a text, a duration (ISO 8601) or a local time."""

    name: str
    title: str
    kind: Kind
    default: str

    @classmethod
    def of(cls, blank: Blank) -> Self:
        return cls(name=blank.name, title=blank.title, kind=blank.kind, default=blank.default)


class GalleryEntryView(BaseModel):
    """A workflow to take over. ``missing`` names the actions it needs that no service offers here."""

    id: str
    category: Category
    title: str
    description: str
    actions: list[str]
    missing: list[str]
    parameters: list[ParameterView]


class GalleryEntryDetail(GalleryEntryView):
    definition: dict[str, Any]


async def list_gallery(category: Category | None, tx: Tx) -> list[GalleryEntryView]:
    offered = await catalogue(tx)
    return [GalleryEntryView(**_shown(entry, offered)) for entry in GALLERY.values() if category in {None, entry.category}]


async def show_gallery_entry(gallery_id: str, tx: Tx) -> GalleryEntryDetail:
    """Raises ``GalleryEntryNotFound``."""
    entry = _entry(gallery_id)
    return GalleryEntryDetail(**_shown(entry, await catalogue(tx)), definition=filled(entry, {}))


async def use_gallery_entry(gallery_id: str, cmd: UseGalleryEntry, tx: Tx) -> WorkflowView:
    """A new draft. Raises ``GalleryEntryNotFound``, ``DefinitionRefused`` that points at the value something is wrong with."""
    entry = _entry(gallery_id)
    try:
        definition = read(filled(entry, cmd.values))
        refuse(await save_findings(definition, tx))
    except ValuesInvalid as error:
        refuse(error.findings, "")
        raise
    except DefinitionRefused as refused:
        raise DefinitionRefused(errors=[_at_value(entry, error) for error in refused.details["errors"]]) from None
    return await create_workflow(SaveWorkflow(name=cmd.name or entry.title, definition=definition), tx)


def _at_value(entry: Entry, error: dict[str, Any]) -> dict[str, Any]:
    place = place_of(entry, error["pointer"].removeprefix("/definition"))
    return error | {"pointer": place} if place else error


def _entry(gallery_id: str) -> Entry:
    if gallery_id not in GALLERY:
        raise GalleryEntryNotFound
    return GALLERY[gallery_id]


def _shown(entry: Entry, offered: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": entry.id, "category": entry.category, "title": entry.title, "description": entry.description, "actions": entry.actions,
        "missing": [action for action in entry.actions if action not in offered],
        "parameters": [ParameterView.of(blank) for blank in entry.blanks],
    }  # fmt: skip
