"""Who may go to the database now: so many at once, few of each practice, and practices take turns."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Turnstile:
    """Who waits for one practice's lock takes ``of_one`` of the places at most. Within a practice whoever came first goes first."""

    def __init__(self, places: int, of_one: int) -> None:
        self._places = places
        self._of_one = of_one
        self._inside: Counter[Hashable] = Counter()
        self._lines: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, key: Hashable) -> AsyncIterator[None]:
        """Waits for its turn; whoever is cut off while waiting gives it up."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(key, deque()).append(mine)
        self._let_in()
        try:
            await mine
            yield
        finally:
            if mine.done() and not mine.cancelled():
                self._leave(key)
            self._let_in()

    def _leave(self, key: Hashable) -> None:
        """Its line goes behind the others."""
        self._inside -= Counter([key])
        if key in self._lines:
            self._lines.move_to_end(key)

    def _let_in(self) -> None:
        """The first of each line that may have one more inside, as long as there are places."""
        for key in list(self._lines):
            if self._inside.total() == self._places:
                return
            if self._inside[key] < self._of_one:
                self._serve(key)

    def _serve(self, key: Hashable) -> None:
        line = self._lines[key]
        while line and (first := line.popleft()):
            if not first.cancelled():
                first.set_result(None)
                self._inside[key] += 1
                break
        if not line:
            del self._lines[key]
