"""What a practice waits while another floods, through the whole backbone: decision 0019 states the bound."""

from __future__ import annotations

import asyncio

from aiokafka.partitioner import DefaultPartitioner

from deploy.demo.journey import Practice
from libs.common.clock import monotonic
from libs.contracts.topics import PARTITIONS
from libs.testing.stack import Stack
from tests.bench.figures import percentile
from tests.bench.runs import Watched, all_answered, outbox, say, watching

FLOOD = 10_000
CHUNK = 500
ASIDE = 20
"""Events of the quiet practice, said one after the other while the flood is handled."""


People = list[tuple[Practice, str]]


def behind_a_flood(system: Stack, people: People) -> None:
    """One practice says ``FLOOD`` things at once; another, in its partition or not, says one after the other.

    The practice with most people is the loud one: it needs so many that none of them is taken for a loop.
    """
    of: dict[str, People] = {}
    for practice, patient in people:
        of.setdefault(practice.id, []).append((practice, patient))
    loud = max(of, key=lambda practice: len(of[practice]))
    place = _partition(loud)
    beside = next(practice for practice in of if practice != loud and _partition(practice) == place)
    elsewhere = next(practice for practice in of if _partition(practice) != place)
    for what, quiet in (("no flood", beside), ("in the same partition", beside), ("in another partition", elsewhere)):
        asyncio.run(_measure(system, what, [] if what == "no flood" else of[loud], of[quiet]))


async def _measure(system: Stack, what: str, loud: People, quiet: People) -> None:
    flood, aside = Watched(), Watched()
    async with await outbox(system) as connection, watching(system, aside), watching(system, flood):
        began = monotonic()
        for chunk in range(0, FLOOD if loud else 0, CHUNK):
            await say(connection, [loud[number % len(loud)] for number in range(chunk, chunk + CHUNK)], flood)
        asked: list[float] = []
        waited: list[float] = []
        for number in range(ASIDE):
            before = set(aside.committed)
            await say(connection, [quiet[number % len(quiet)]], aside)
            await all_answered(aside)
            (one,) = set(aside.committed) - before
            asked.append(aside.asked[one] - aside.committed[one])
            waited.append(aside.answered[one] - aside.committed[one])
        await all_answered(flood)
        seconds = monotonic() - began
    for name, times in (("asked for", asked), ("performed", waited)):
        figures = f"{times[0]:.2f} / {percentile(times, 0.5):.2f} / {max(times):.2f} s"
        print(f"| {what}: event → action {name}, first / median / longest of {ASIDE} | {figures} | | | |")
    if loud:
        print(f"| the flood of {FLOOD} itself | {seconds:.0f} s = {FLOOD / seconds:.0f}/s | | | |")


def _partition(key: str) -> int:
    """Kafka's own choice for a key."""
    return int(DefaultPartitioner()(key.encode(), list(range(PARTITIONS)), list(range(PARTITIONS))))
