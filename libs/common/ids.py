"""The only place ids are made. UUID version 7 (RFC 9562): ordered by time, 74 random bits."""

from __future__ import annotations

from uuid import UUID, uuid5

import uuid_utils.compat

_EFFECTS = UUID("6f0c2b8e-52c5-5c3f-9d0a-0e5d3f1a7b11")


def new_id() -> UUID:
    """A new id, unique without coordination, roughly ordered by creation time."""
    return uuid_utils.compat.uuid7()


def derived_id(*parts: object) -> UUID:
    """The same id for the same parts, for ever (UUID version 5): what makes a repeated step the same effect."""
    return uuid5(_EFFECTS, "/".join(str(part) for part in parts))
