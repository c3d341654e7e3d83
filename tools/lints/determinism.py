"""Time, ids and the environment come in through one door each, so that tests and replays can hold them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tools.lints.source import Finding, Source, dotted

CLOCKS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "datetime.datetime.now", "datetime.datetime.utcnow", "date.today",
    "datetime.date.today", "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter",
}  # fmt: skip
IDS = {"uuid1", "uuid4", "uuid7", "uuid.uuid1", "uuid.uuid4", "uuid.uuid7"}
DOORS_TO_TIME = {"libs/common/clock.py", "libs/common/ids.py"}
SLEEPS = {"time.sleep", "asyncio.sleep", "anyio.sleep", "sleep"}


def clock(source: Source) -> Iterator[Finding]:
    """A reminder once fired twice because two halves of one transaction had read two different nows."""
    if not source.is_product or source.path in DOORS_TO_TIME:
        return
    for node in source.nodes:
        called = dotted(node.func) if isinstance(node, ast.Call) else ""
        if called in CLOCKS | IDS:
            yield source.finding("clock", node, f"{called}() is called; use tx.now, tx.new_id() or libs.common.clock, ids")
        if source.room == "rules" and called in {"new_id", "utc_now", "monotonic"}:
            yield source.finding("clock", node, f"rules take time and ids as arguments; {called}() is called")


def environment(source: Source) -> Iterator[Finding]:
    """A service read a variable at import time that its deployment had renamed: it ran for days with the default."""
    if not source.is_product or source.path == "libs/common/settings.py":
        return
    for node in source.nodes:
        name = dotted(node) if isinstance(node, ast.Attribute) else ""
        if name in {"os.environ", "os.getenv", "os.putenv"}:
            yield source.finding("environment", node, f"{name} is read; settings.py is the only door to the environment")
        if isinstance(node, ast.ImportFrom) and node.module == "os" and {a.name for a in node.names} & {"environ", "getenv", "putenv"}:
            yield source.finding("environment", node, "the environment is imported; settings.py is the only door to it")


def sleep(source: Source) -> Iterator[Finding]:
    """A pause that is long enough on one machine is a lost hour on another: wait for a signal, a probe or a drained queue.

    Simulators may be slow on purpose, and the load of a benchmark arrives at its own pace.
    """
    if not source.is_test or "simulators" in source.parts or source.parts[:2] == ("tests", "bench"):
        return
    for node in source.nodes:
        if isinstance(node, ast.Call) and dotted(node.func) in SLEEPS:
            pause = node.args[0] if node.args else None
            if not (isinstance(pause, ast.Constant) and pause.value == 0):
                yield source.finding("sleep", node, "tests do not sleep; wait for a signal, a probe or a drained queue")
