"""Waiting without sleeping blindly: look until something is so, or say what was seen instead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from libs.common.clock import monotonic

T = TypeVar("T")
PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 1.0
"""A look that is dear leaves as much time again to what it waits for: both share the machine."""


class NeverHappened(AssertionError):
    """What a probe waited for did not become true in time; the text holds the last thing seen."""


def until(look: Callable[[], T], is_so: Callable[[T], bool] = bool, *, within: float = 30.0, what: str = "it") -> T:
    """The first sample that is so. Raises ``NeverHappened``."""
    deadline = monotonic() + within
    while True:
        began = monotonic()
        seen = look()
        if is_so(seen):
            return seen
        if monotonic() > deadline:
            raise NeverHappened(f"{what} did not happen within {within:.0f} s; last seen: {seen!r}"[:2000])
        time.sleep(_pause(began))


async def until_async(look: Callable[[], Awaitable[T]], is_so: Callable[[T], bool] = bool, *, within: float = 30.0, what: str = "it") -> T:
    """The same for coroutines."""
    deadline = monotonic() + within
    while True:
        began = monotonic()
        seen = await look()
        if is_so(seen):
            return seen
        if monotonic() > deadline:
            raise NeverHappened(f"{what} did not happen within {within:.0f} s; last seen: {seen!r}"[:2000])
        await asyncio.sleep(_pause(began))


def _pause(began: float) -> float:
    return min(max(PAUSE_SECONDS, monotonic() - began), LONGEST_PAUSE_SECONDS)
