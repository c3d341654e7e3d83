"""Things that wait, a line for each key: every line keeps its order, and all lines take turns."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """What one key puts in by the thousand delays another key's first by one turn. Not for several threads."""

    def __init__(self) -> None:
        self._lines: OrderedDict[Hashable, deque[T]] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def __iter__(self) -> Iterator[T]:
        """All of it, line by line; nothing is taken."""
        for line in self._lines.values():
            yield from line

    @property
    def lines(self) -> int:
        return len(self._lines)

    def put(self, key: Hashable, thing: T) -> None:
        self._lines.setdefault(key, deque()).append(thing)
        self._waiting += 1

    def put_back(self, key: Hashable, thing: T) -> None:
        """Before all others of its line; a line that is new because of it is the first."""
        if key not in self._lines:
            self._lines[key] = deque()
            self._lines.move_to_end(key, last=False)
        self._lines[key].appendleft(thing)
        self._waiting += 1

    def take(self, most: int, share: int) -> list[T]:
        """At most ``most``: everything of a line that is alone, else ``share`` of each, those first that were last served longest ago."""
        taken: list[T] = []
        share = share if len(self._lines) > 1 else most
        for key in list(self._lines):
            if len(taken) == most:
                break
            line = self._lines[key]
            taken += [line.popleft() for _ in range(min(share, most - len(taken), len(line)))]
            if line:
                self._lines.move_to_end(key)
            else:
                del self._lines[key]
        self._waiting -= len(taken)
        return taken

    def drop(self, unwanted: Callable[[T], bool]) -> None:
        for key, line in list(self._lines.items()):
            kept = deque(thing for thing in line if not unwanted(thing))
            self._waiting -= len(line) - len(kept)
            if kept:
                self._lines[key] = kept
            else:
                del self._lines[key]

    def clear(self) -> None:
        self._lines.clear()
        self._waiting = 0
