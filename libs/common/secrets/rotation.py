"""Rotation of keys: every sealed value of a service is brought under the current key, practice by practice.

A batch is one transaction: at most ``BATCH`` values per column of one practice, in that practice's tenant context. A value is
replaced only where it still stands as it was read, so nothing that is stored meanwhile is lost. Whoever is stopped
anywhere begins again; several may run at once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from libs.common.auth import Principal
from libs.common.secrets.box import SecretBox
from libs.common.secrets.envelope import HEAD_BYTES, SealBroken, key_id_of
from libs.common.work import Tx, Work

BATCH = 100
VERSION_1_ID = "(version 1)"
UNREADABLE_ID = "(not a sealed value)"

_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_PRACTICES = "SELECT practice_id FROM sealed_practice ORDER BY practice_id"


@dataclass(frozen=True)
class SealedColumn:
    """Where a service keeps sealed values, and the purpose they are bound to. Its table is a ``sealed_table`` (migrations)."""

    table: str
    column: str
    purpose: str

    def __post_init__(self) -> None:
        if not (_NAME.fullmatch(self.table) and _NAME.fullmatch(self.column)):
            raise ValueError("table and column are plain names")

    @property
    def heads(self) -> str:
        return (
            f"SELECT substring({self.column} FROM 1 FOR $2) AS head FROM {self.table} WHERE practice_id = $1 AND {self.column} IS NOT NULL"
        )

    @property
    def outstanding(self) -> str:
        """Values that do not begin like those under the current key, without some that were tried in vain."""
        return f"""
        SELECT {self.column} AS sealed FROM {self.table}
        WHERE practice_id = $1 AND substring({self.column} FROM 1 FOR $2) <> $3 AND {self.column} <> ALL ($4::bytea[])
        ORDER BY {self.column} LIMIT $5
        """

    @property
    def replacement(self) -> str:
        return f"UPDATE {self.table} SET {self.column} = $3 WHERE practice_id = $1 AND {self.column} = $2"


class Rotation:
    """The sealed values of one service."""

    def __init__(self, work: Work, box: SecretBox, columns: Sequence[SealedColumn]) -> None:
        self._work = work
        self._box = box
        self._columns = columns

    async def status(self) -> Counter[str]:
        """How many values are under which key."""
        found: Counter[str] = Counter()
        for practice_id in await self._practices():
            async with self._work(Principal.system("secrets", practice_id)) as tx:
                for column in self._columns:
                    rows = await tx.rows(column.heads, practice_id, HEAD_BYTES)
                    found.update(_named(row["head"]) for row in rows)
        return found

    async def outstanding(self) -> int:
        """How many values are not under the current key."""
        return sum(count for key_id, count in (await self.status()).items() if key_id != self._box.current)

    async def rotate(self) -> int:
        """Bring every value that can be opened under the current key; returns how many were brought."""
        return sum([await self._rotate(practice_id) for practice_id in await self._practices()])

    async def _practices(self) -> list[UUID]:
        if not self._columns:
            return []
        async with self._work.batch([], Principal.system("secrets")) as tx:
            return [row["practice_id"] for row in await tx.rows(_PRACTICES)]

    async def _rotate(self, practice_id: UUID) -> int:
        moved = 0
        in_vain: list[bytes] = []
        while True:
            async with self._work(Principal.system("secrets", practice_id)) as tx:
                batches = [(column, await self._outstanding(column, in_vain, tx)) for column in self._columns]
                moved_now = sum([await self._rewrap(column, batch, in_vain, tx) for column, batch in batches])
            moved += moved_now
            if not any(batch for _, batch in batches):
                return moved

    async def _outstanding(self, column: SealedColumn, in_vain: list[bytes], tx: Tx) -> list[bytes]:
        heading = self._box.heading
        rows = await tx.rows(column.outstanding, tx.practice_id, len(heading), heading, in_vain, BATCH)
        return [row["sealed"] for row in rows]

    async def _rewrap(self, column: SealedColumn, batch: list[bytes], in_vain: list[bytes], tx: Tx) -> int:
        moved = 0
        for sealed in batch:
            try:
                anew = self._box.rewrap(tx.practice_id, column.purpose, sealed)
            except SealBroken:
                in_vain.append(sealed)
                continue
            moved += await tx.execute(column.replacement, tx.practice_id, sealed, anew) != "UPDATE 0"
        return moved


def _named(head: bytes) -> str:
    try:
        return key_id_of(head) or VERSION_1_ID
    except SealBroken:
        return UNREADABLE_ID
