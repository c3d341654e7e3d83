"""What the server remembers, in one file that is replaced at every commit; and the transactions that change it."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from libs.common.clock import Clock
from libs.testing.simulators.supabase.times import stamp

Row = dict[str, Any]
Listener = Callable[[str, Row | None, Row | None], None]


class Store:
    """Users are rows of ``auth.users`` with their identities. Refresh tokens outlive their session, to be known as ended."""

    def __init__(self, path: Path, now: Clock) -> None:
        self.now = now
        self.listeners: list[Listener] = []
        self._path = path
        self._kept: dict[str, Any] = {
            "users": {}, "sessions": {}, "tokens": {}, "mails": [], "keys": [], "revoked": [], "webhook": {}, "told": [],
        }  # fmt: skip
        if path.exists():
            self._kept |= json.loads(path.read_text())
        self.users: dict[str, Row] = self._kept["users"]
        self.sessions: dict[str, Row] = self._kept["sessions"]
        self.tokens: dict[str, Row] = self._kept["tokens"]
        self.mails: list[Row] = self._kept["mails"]
        self.keys: list[Row] = self._kept["keys"]
        self.revoked: list[str] = self._kept["revoked"]
        self.webhook: dict[str, str] = self._kept["webhook"]
        self.told: list[Row] = self._kept["told"]

    def save(self) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(self._kept))
        fresh.replace(self._path)

    def by_email(self, email: str) -> Row | None:
        return self._first("email", email.lower())

    def by_token(self, *columns: str, token_hash: str) -> tuple[Row, str] | None:
        """Whose one-time token it is, and in which column."""
        for column in columns:
            row = self._first(column, token_hash)
            if row is not None:
                return row, column
        return None

    def _first(self, column: str, value: str) -> Row | None:
        return next((row for row in self.users.values() if value and row[column] == value), None)

    def end_sessions(self, user_id: str, *, but: str | None = None, only: str | None = None) -> None:
        for session_id in [name for name, session in self.sessions.items() if session["user_id"] == user_id]:
            if session_id != but and only in {None, session_id}:
                del self.sessions[session_id]

    def begin(self) -> Transaction:
        return Transaction(self)


class Transaction:
    """Works on copies; nothing is so before ``commit``. A hook may take seconds in between, others go on meanwhile."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._before: dict[str, Row] = {}
        self._rows: dict[str, Row] = {}
        self._deleted: list[str] = []
        self._later: list[Callable[[], None]] = []

    def user(self, user_id: str) -> Row:
        if user_id not in self._rows:
            self._before[user_id] = deepcopy(self._store.users[user_id])
            self._rows[user_id] = deepcopy(self._store.users[user_id])
        return self._rows[user_id]

    def insert(self, row: Row) -> Row:
        self._rows[row["id"]] = row
        return row

    def delete(self, user_id: str) -> None:
        self._deleted.append(user_id)

    def later(self, step: Callable[[], None]) -> None:
        """Done at commit."""
        self._later.append(step)

    def commit(self) -> None:
        """On disk before anybody is told. Each changed row is one change, as a trigger for each row would see it."""
        changes = [change for name, row in self._rows.items() if (change := self._apply(name, row))]
        for step in self._later:
            step()
        for user_id in self._deleted:
            old = self._store.users.pop(user_id, None)
            self._store.end_sessions(user_id)
            if old is not None:
                changes.append(("DELETE", None, old))
        self._store.save()
        for change in changes:
            for listener in self._store.listeners:
                listener(*change)

    def _apply(self, user_id: str, row: Row) -> tuple[str, Row | None, Row | None] | None:
        before = self._before.get(user_id)
        if before is None:
            self._store.users[user_id] = row
            return "INSERT", deepcopy(row), None
        current = self._store.users.get(user_id)
        changed = {column: value for column, value in row.items() if value != before[column]}
        if current is None or not changed:
            return None
        old = deepcopy(current)
        row["updated_at"] = stamp(self._store.now())
        current |= {**deepcopy(changed), "updated_at": row["updated_at"]}
        return "UPDATE", deepcopy(current), old
