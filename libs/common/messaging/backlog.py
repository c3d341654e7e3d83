"""What this process has read and not finished: a line for each practice, and for each partition how far it may be committed.

Reading runs ahead of handling, so that what a practice said by the thousand does not stand between the broker and those behind
it in the same partition. Records of one practice are handled in the order they came; of a partition, everything up to
its first unfinished record may be committed. If we die, what was not committed comes again and the inbox knows what was done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from libs.common.messaging.received import Incoming
from libs.common.turns import Turns

Partition = tuple[str, int]

SHARE = 100
"""Messages of one practice in one batch, when others wait as well."""


@dataclass
class _Progress:
    """A partition's records from the first unfinished one on."""

    open: deque[int] = field(default_factory=deque)
    done: set[int] = field(default_factory=set)


class Backlog:
    def __init__(self) -> None:
        self._waiting: Turns[Incoming] = Turns()
        self._progress: dict[Partition, _Progress] = {}
        self._finished: dict[Partition, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, records: Sequence[Incoming]) -> None:
        for record in records:
            self._progress.setdefault(_partition(record), _Progress()).open.append(record.offset)
            self._waiting.put(_practice(record), record)

    def take(self, most: int) -> list[Incoming]:
        """The next batch. Each record is to be finished or put back."""
        return self._waiting.take(most, SHARE)

    def put_back(self, records: Sequence[Incoming]) -> None:
        """They could not be handled: they come first again. Those of partitions given up meanwhile are forgotten."""
        for record in reversed(records):
            if _partition(record) in self._progress:
                self._waiting.put_back(_practice(record), record)

    def finish(self, records: Sequence[Incoming]) -> None:
        for record in records:
            progress = self._progress.get(_partition(record))
            if progress is not None:
                progress.done.add(record.offset)
        for partition in {_partition(record) for record in records} & self._progress.keys():
            progress = self._progress[partition]
            while progress.open and progress.open[0] in progress.done:
                offset = progress.open.popleft()
                progress.done.discard(offset)
                self._finished[partition] = offset + 1

    def give_up(self, partitions: Collection[Partition]) -> None:
        """Somebody else reads these from now on, from what was committed."""
        self._waiting.drop(lambda record: _partition(record) in partitions)
        for partition in partitions:
            self._progress.pop(partition, None)

    def finished(self) -> dict[Partition, int]:
        """For each partition that got on since the last call: the offset to commit."""
        finished, self._finished = self._finished, {}
        return finished


def _partition(record: Incoming) -> Partition:
    return record.topic, record.partition


def _practice(record: Incoming) -> str:
    """Unread as yet: what names no practice shares one line."""
    return record.headers.get("ce_partitionkey", "")
