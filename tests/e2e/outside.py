"""An outside system of a practice: it keeps what it took, by idempotency key, and does not always say so."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from libs.testing.receiver import Answer, Received, Receiver
from libs.testing.stack import Stack

_DONE = Answer(204)
_CUT = Answer(0)
_BROKE = Answer(502)
_BUSY = Answer(503)
_TOO_MANY = Answer(429, headers={"Retry-After": "1"})
_WHIMS = {3: _CUT, 7: _BUSY, 11: _BROKE, 15: _TOO_MANY}
_NOTHING_DONE = {429, 503}
_EVERY = 20


class Outside:
    """Of twenty requests it does eighteen, and says so of sixteen. One that says that it may be repeated is done once."""

    def __init__(self, receiver: Receiver) -> None:
        self.url = receiver.url
        self.taken: Counter[str] = Counter()
        """How often it did what a key stands for."""
        self.about: dict[str, tuple[str, str]] = {}
        """Whom and which step each key is about."""
        self.doubtful: set[str] = set()
        """What it did and did not say so, where it does not tell repeats."""
        self._number = 0
        self._lock = threading.Lock()
        receiver.answer = lambda _, received: self._answer(received)

    def _answer(self, received: Received) -> Answer:
        key, body = received.headers["idempotency-key"], orjson.loads(received.body)
        with self._lock:
            answer = _WHIMS.get(self._number % _EVERY, _DONE)
            self._number += 1
            if answer.status not in _NOTHING_DONE:
                self._take(key, body, answer)
            return answer

    def _take(self, key: str, body: dict[str, Any], answer: Answer) -> None:
        if body["repeats"] and key in self.taken:
            return
        self.taken[key] += 1
        self.about[key] = body["patient"], body["step"]
        if answer is not _DONE and not body["repeats"]:
            self.doubtful.add(key)


@contextmanager
def outside_of(stack: Stack) -> Iterator[Outside]:
    """One on this machine, which workflows may ask meanwhile."""
    receiver = Receiver()
    try:
        with stack.told("notifications", VANTAGE_REQUESTS_ALLOW_PRIVATE="true"):
            yield Outside(receiver)
    finally:
        receiver.close()
