"""The gallery: workflows a practice would use, ready to be taken over as drafts."""

from __future__ import annotations

from services.workflows.rules.gallery import people, reminders, visits
from services.workflows.rules.gallery.entry import Blank, Category, Entry, Kind, ValuesInvalid, filled, place_of

GALLERY: dict[str, Entry] = {entry.id: entry for entry in (*reminders.ENTRIES, *visits.ENTRIES, *people.ENTRIES)}
"""By id, in the order they are shown."""

__all__ = ["GALLERY", "Blank", "Category", "Entry", "Kind", "ValuesInvalid", "filled", "place_of"]
