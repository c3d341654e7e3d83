"""Who acts: the principal every transaction, every event and every door knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from libs.contracts.envelope import PLATFORM
from libs.contracts.permissions import Permission, Role

__all__ = ["Permission", "Principal", "Role"]


@dataclass(frozen=True)
class Principal:
    """Who acts, where, and what they may.

    ``id`` is ours (user id, key id, the name of a part of the house). ``practice_id`` is None for a Vantage admin outside
    every practice; inside one, ``entry_id`` names the entry that lets them in.
    """

    kind: Literal["user", "key", "system"]
    id: str
    role: Role | None
    practice_id: UUID | None
    permissions: frozenset[Permission] = frozenset()
    entry_id: UUID | None = None

    @classmethod
    def system(cls, name: str, practice_id: UUID | None = None) -> Principal:
        """A part of the house itself, or an outside party whose signature was verified."""
        return cls("system", name, None, practice_id)

    @classmethod
    def platform(cls, name: str) -> Principal:
        """A part of the house acting for the platform itself, outside any practice."""
        return cls("system", name, None, PLATFORM)

    @property
    def actor(self) -> str:
        return f"{self.kind}:{self.id}"
