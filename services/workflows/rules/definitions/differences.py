"""What is different between two definitions, by JSON pointer. Steps are the same when their ids are, wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from services.workflows.rules.findings import pointer_part

_LISTS = ("steps", "otherwise", "error_steps")


@dataclass(frozen=True)
class Difference:
    """``pointer`` into the later definition, or into the earlier one for what was removed. ``moved`` holds the pointers themselves."""

    pointer: str
    change: Literal["added", "removed", "changed", "moved"]
    step: str | None
    before: Any = None
    after: Any = None


@dataclass(frozen=True)
class _Placed:
    """A step without the steps inside it. ``way``: the list it stands in, named by the step around it."""

    pointer: str
    way: str
    own: Mapping[str, Any]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Empty exactly when both say the same. Of definitions as they are stored."""
    outside = [{name: value for name, value in side.items() if name != "steps"} for side in (before, after)]
    old, new = _placed(before["steps"], "/steps", ""), _placed(after["steps"], "/steps", "")
    found = list(_values(outside[0], outside[1], "", None))
    found += [Difference(place.pointer, "removed", step, _at(before, place.pointer)) for step, place in old.items() if step not in new]
    moved = _moved(old, new)
    for step, place in new.items():
        if step not in old:
            found.append(Difference(place.pointer, "added", step, None, _at(after, place.pointer)))
            continue
        if step in moved:
            found.append(Difference(place.pointer, "moved", step, old[step].pointer, place.pointer))
        found += _values(old[step].own, place.own, place.pointer, step)
    return found


def _placed(steps: list[dict[str, Any]], pointer: str, way: str) -> dict[str, _Placed]:
    """Every step by its id, in the order they are written."""
    found: dict[str, _Placed] = {}
    for number, step in enumerate(steps):
        here = f"{pointer}/{number}"
        inner: list[tuple[list[dict[str, Any]], str]] = [(step[name], name) for name in _LISTS if step.get(name)]
        inner += [(case["steps"], f"cases/{index}/steps") for index, case in enumerate(step.get("cases", ()))]
        own = {name: value for name, value in step.items() if name not in _LISTS}
        if "cases" in step:
            own["cases"] = [{name: value for name, value in case.items() if name != "steps"} for case in step["cases"]]
        found[step["id"]] = _Placed(here, way, own)
        for inside, name in inner:
            found |= _placed(inside, f"{here}/{name}", f"{step['id']}/{name}")
    return found


def _moved(old: Mapping[str, _Placed], new: Mapping[str, _Placed]) -> set[str]:
    """Steps that stand in another list, or no longer in the order they had among those that stayed."""
    both = [step for step in new if step in old]
    elsewhere = {step for step in both if old[step].way != new[step].way}
    ways = {new[step].way for step in both}
    for way in ways:
        now = [step for step in both if new[step].way == way and step not in elsewhere]
        was = [step for step in old if step in new and old[step].way == way and step not in elsewhere]
        kept = {
            step for block in SequenceMatcher(None, was, now, autojunk=False).get_matching_blocks() for step in now[block.b :][: block.size]
        }
        elsewhere |= set(now) - kept
    return elsewhere


def _values(before: Any, after: Any, pointer: str, step: str | None) -> Iterator[Difference]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in [*before, *(name for name in after if name not in before)]:
            here = f"{pointer}/{pointer_part(name)}"
            if name not in after:
                yield Difference(here, "removed", step, before[name])
            elif name not in before:
                yield Difference(here, "added", step, None, after[name])
            else:
                yield from _values(before[name], after[name], here, step)
    elif isinstance(before, list) and isinstance(after, list):
        for number in range(max(len(before), len(after))):
            here = f"{pointer}/{number}"
            if number >= len(after):
                yield Difference(here, "removed", step, before[number])
            elif number >= len(before):
                yield Difference(here, "added", step, None, after[number])
            else:
                yield from _values(before[number], after[number], here, step)
    elif before != after or type(before) is not type(after):
        yield Difference(pointer, "changed", step, before, after)


def _at(definition: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        definition = definition[int(part)] if isinstance(definition, list) else definition[part]
    return definition
