"""Who would have got what, when: the actions of two versions of a workflow side by side, as counts and a few examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.workflows.rules.runs.states import Perform

MAX_EXAMPLES = 25
MAX_TEXT = 500
SAME_TIME = timedelta(seconds=1)
SIDES = ("draft", "compared")


@dataclass(frozen=True)
class Asked:
    """An action a run asked for."""

    at: datetime
    step_id: str
    action: str
    parameters: Mapping[str, Any]

    @classmethod
    def of(cls, effect: Perform, now: datetime) -> Asked:
        return cls(now, effect.step_id, effect.action, effect.parameters)

    def shown(self) -> dict[str, Any]:
        return {"at": self.at.isoformat(), "step_id": self.step_id, "parameters": _short(self.parameters)}


@dataclass
class Story:
    """What one run asked for, until it is over."""

    asked: list[Asked] = field(default_factory=list)
    over: bool = False


@dataclass
class Pair:
    event_id: UUID
    patient_id: UUID | None
    stories: dict[str, Story] = field(default_factory=dict)


@dataclass
class Comparing:
    """Pairs are dropped as soon as both runs are over: memory follows the runs under way, not those there were."""

    pairs: dict[object, Pair] = field(default_factory=dict)
    ended: list[object] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def begin(self, side: str, key: object, event_id: UUID, patient_id: UUID | None) -> Story:
        """A run began on one side; ``key`` names it on both."""
        pair = self.pairs.setdefault(key, Pair(event_id, patient_id))
        story = pair.stories[side] = Story()
        return story

    def settle(self) -> None:
        """Count pairs whose runs are over. To be called when both sides have heard the same."""
        for key in self.ended:
            pair = self.pairs.get(key)
            if pair is not None and all(story.over for story in pair.stories.values()):
                self._count(pair)
                del self.pairs[key]
        self.ended.clear()

    def settle_all(self) -> None:
        """The end: what runs asked for so far is what counts."""
        for pair in self.pairs.values():
            self._count(pair)
        self.pairs.clear()

    def _count(self, pair: Pair) -> None:
        """The n-th time an action is asked for on one side is compared with the n-th time on the other."""
        mine, theirs = (_in_turn(pair.stories.get(side)) for side in SIDES)
        for turn in [*mine, *(turn for turn in theirs if turn not in mine)]:
            draft, compared = mine.get(turn), theirs.get(turn)
            if draft is None or compared is None:
                self._note("only_in_draft" if compared is None else "only_in_compared", pair, turn[0], draft, compared)
                continue
            moved, changed = abs(draft.at - compared.at) > SAME_TIME, draft.parameters != compared.parameters
            if moved:
                self._note("different_time", pair, turn[0], draft, compared)
            if changed:
                self._note("different_parameters", pair, turn[0], draft, compared)
            if not moved and not changed:
                self.counts["same"] += 1

    def _note(self, kind: str, pair: Pair, action: str, draft: Asked | None, compared: Asked | None) -> None:
        self.counts[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(
                {
                    "event_id": str(pair.event_id), "patient_id": str(pair.patient_id) if pair.patient_id else None, "action": action,
                    "draft": draft.shown() if draft else None, "compared": compared.shown() if compared else None,
                }
            )  # fmt: skip


def _in_turn(story: Story | None) -> dict[tuple[str, int], Asked]:
    turns: dict[tuple[str, int], Asked] = {}
    times: Counter[str] = Counter()
    for asked in story.asked if story else ():
        turns[asked.action, times[asked.action]] = asked
        times[asked.action] += 1
    return turns


def _short(value: Any) -> Any:
    """Long texts are cut: an example is for looking at."""
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + "…"
    if isinstance(value, Mapping):
        return {name: _short(inner) for name, inner in value.items()}
    return [_short(inner) for inner in value] if isinstance(value, list) else value
