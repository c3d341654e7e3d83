"""How much work a regular expression is: about how many instructions its machine has. Pure.

Matching is linear in the text, but also in the machine, and the engine builds the machine at every evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_PATTERN = 250

_UNICODE = 500
_CLASS = 8
_MAX_COUNT = 1000
_ATOM = re.compile(
    r"""(?P<unicode>\\[pP](?:\{[^}]*\}|.)) | (?P<group>\((?:\?(?:P?<\w+>|[imsU-]*(?P<flags>[:)])))?) | (?P<end>[)|])
      | (?P<class>\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\] | \\[wWdDsS] | \.) | (?P<one>\\x\{[0-9A-Fa-f]+\}|\\.|.)""",
    re.VERBOSE | re.DOTALL,
)
_TIMES = re.compile(r"[*+?]\??|\{(\d+)(?:,(\d*))?\}\??")


def weight(pattern: str) -> int | None:
    """None when it is no pattern; whether it really is one, the engine says."""
    folded = 3 if re.search(r"\(\?[a-zA-Z]*i", pattern) else 1
    reader = _Reader(pattern)
    found = reader.alternatives(0)
    return None if found is None or not reader.done else found * folded


class _Reader:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at >= len(self._pattern)

    def alternatives(self, depth: int) -> int | None:
        """Everything up to the bracket that closes, or the end."""
        total = 1
        for match in self._atoms():
            if match["end"] == ")":
                return total if depth else None
            if match["end"] == "|":
                total += 1
                continue
            once = self._atom(match, depth)
            if once is None:
                return None
            total += once * self._times()
        return None if depth else total

    def _atoms(self) -> Iterator[re.Match[str]]:
        while not self.done:
            match = _ATOM.match(self._pattern, self._at)
            if match is None:
                return
            self._at = match.end()
            yield match

    def _atom(self, match: re.Match[str], depth: int) -> int | None:
        if match["group"]:
            if match["flags"] == ")":
                return 0
            return self.alternatives(depth + 1) if depth < 20 else None
        if match["unicode"]:
            return _UNICODE
        if match["class"]:
            return _UNICODE if r"\p" in match["class"].lower() else max(_CLASS, len(match["class"]))
        return 1

    def _times(self) -> int:
        """How often what stands before is built."""
        times = 1
        while (match := _TIMES.match(self._pattern, self._at)) is not None:
            self._at = match.end()
            if match[1]:
                times *= max(1, min(int(match[2] or match[1]), _MAX_COUNT))
        return times
