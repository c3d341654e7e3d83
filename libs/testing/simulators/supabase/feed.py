"""The database webhook: what a trigger on ``auth.users`` sends, once for each changed row, after commit, never again.

Signed by Standard Webhooks. Deliveries overtake each other and get lost, as those of the real extension do.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx

from libs.testing.simulators.supabase import signing, users
from libs.testing.simulators.supabase.store import Row, Store

KEPT = 5000


class UserFeed:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._posting: set[asyncio.Task[int | None]] = set()
        store.listeners.append(self.tell)

    def point(self, url: str, secret: str) -> None:
        self._store.webhook.update(url=url, secret=secret)
        self._store.save()

    def tell(self, kind: str, record: Row | None, old: Row | None) -> None:
        if not self._store.webhook:
            return
        subject = record or old or {}
        body = {"type": kind, "schema": "auth", "table": "users", "record": users.record(record), "old_record": users.record(old)}
        told = {"id": str(uuid4()), "user_id": subject["id"], "body": json.dumps(body)}
        self._store.told.append(told)
        del self._store.told[:-KEPT]
        self._store.save()
        task = asyncio.create_task(self._post(told))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def resend(self, user_id: str, times: int, *, backwards: bool) -> list[int | None]:
        """The same bodies under the same ids, freshly signed, one after the other."""
        told = [line for line in self._store.told if line["user_id"] == user_id]
        ordered = list(reversed(told)) if backwards else told
        return [await self._post(line) for _ in range(times) for line in ordered]

    async def _post(self, told: dict[str, Any]) -> int | None:
        body = told["body"].encode()
        signed = signing.headers(body, [self._store.webhook["secret"]], self._store.now(), told["id"])
        try:
            async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
                answer = await client.post(self._store.webhook["url"], content=body, headers={"content-type": "application/json", **signed})
        except httpx.HTTPError:
            return None
        return answer.status_code
