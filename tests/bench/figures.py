"""Percentiles, processor time and memory: what a measurement reports."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from libs.testing.stack import Stack


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` of them lie; nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@dataclass(frozen=True)
class Usage:
    """Processor seconds so far and resident bytes, of one component with its children."""

    cpu_seconds: float
    rss: int


def usage(stack: Stack) -> dict[str, Usage]:
    """Every component of the system."""
    found: dict[str, Usage] = {}
    for name, info in stack.system.supervisor.states().items():
        if info["pid"]:
            found[name] = _of(psutil.Process(info["pid"]))
    return found


def _of(process: psutil.Process) -> Usage:
    family = [process, *process.children(recursive=True)]
    cpu, rss = 0.0, 0
    for member in family:
        try:
            times = member.cpu_times()
            cpu += times.user + times.system
            full = member.memory_full_info()
            rss += full.pss  # shared pages counted once
        except psutil.NoSuchProcess:
            continue
    return Usage(cpu, rss)
