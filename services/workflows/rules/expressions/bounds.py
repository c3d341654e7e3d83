"""What an expression may be and cost: size, depth, names, functions, and the work at worst. Pure.

Nothing here asks an engine. Costs come from the declared sizes of fields, which evaluation enforces; see docs/decisions/0018.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.workflows.rules.expressions.functions import CALLS, METHODS
from services.workflows.rules.expressions.interface import ExpressionInvalid, FieldType
from services.workflows.rules.expressions.shapes import Shapes
from services.workflows.rules.expressions.sizes import READING_DYNAMIC, SCALAR, Size, size_of, text
from services.workflows.rules.expressions.syntax import Node, dotted
from services.workflows.rules.findings import did_you_mean

MAX_NODES = 200
MAX_TRANSLATED_NODES = 2000
MAX_LITERAL_ITEMS = 50
MAX_NESTED_MACROS = 2
MAX_ITERATIONS = 9000
"""Elements walked in one evaluation. The engine gives up at 10,000."""

MAX_BUILT = 2_500_000
"""Characters of anything an expression builds on its way."""

MAX_COST = 150_000
"""About 15 ms at worst."""

_TYPES = frozenset({"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type", "timestamp", "duration"})
_KNOWN_TYPES = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})
_ARITHMETIC = frozenset({"-", "*", "/", "%", "negative"})


Known = Mapping[str, tuple[Size, Size]]
"""The elements that have a name: how large each is on average, and how large one may be."""


@dataclass(frozen=True, slots=True)
class Work:
    """What evaluating a part costs at worst, how many elements it walks, how large its value can be."""

    cost: float = 0
    walked: int = 0
    size: Size = SCALAR


def check_bounds(tree: Node, shapes: Shapes, limit: int = MAX_COST, nodes: int = MAX_NODES) -> frozenset[str]:
    """The fields it names. Raises ``ExpressionInvalid`` with the column of what is too much, or of what there is not."""
    for count, node in enumerate(tree.walk()):
        if count >= nodes:
            raise ExpressionInvalid(f"an expression has at most {nodes} parts", node.start + 1)
    estimate = _Estimate(shapes, limit)
    work = estimate.of(tree, {}, 0)
    reading = READING_DYNAMIC * sum(shapes[name].kind is FieldType.DYN for name in estimate.names)
    if work.cost + reading > limit:
        raise too_costly(tree, work.cost + reading, limit)
    return frozenset(estimate.names)


def too_costly(node: Node, cost: float, limit: int) -> ExpressionInvalid:
    times = max(2, round(cost / limit))
    return ExpressionInvalid(f"this may take too long: at worst about {times} times of what one expression may take", node.start + 1)


class _Estimate:
    def __init__(self, shapes: Shapes, limit: int) -> None:
        self._shapes = shapes
        self._limit = limit
        self._roots = {name.split(".")[0] for name in shapes}
        self.names: set[str] = set()

    def of(self, node: Node, known: Known, macros: int) -> Work:
        """``macros``: how many this stands in."""
        work = self._of(node, known, macros)
        if work.cost > self._limit:
            raise too_costly(node, work.cost, self._limit)
        if work.walked > MAX_ITERATIONS:
            message = f"this may walk {work.walked} elements, at most {MAX_ITERATIONS} are walked"
            raise ExpressionInvalid(message, node.start + 1)
        if work.size.built > MAX_BUILT:
            raise ExpressionInvalid("this may build a text that is too large", node.start + 1)
        return work

    def _of(self, node: Node, known: Known, macros: int) -> Work:
        if node.kind == "literal":
            characters = len(node.value) if isinstance(node.value, (str, bytes)) else 0
            return Work(1, 0, text(characters))
        if node.kind in {"name", "select"} and (found := self._named(node, known)) is not None:
            return found
        if node.kind == "macro":
            return self._macro(node, known, macros)
        works = [self.of(child, known, macros) for child in node.children]
        cost, size = self._own(node, [work.size for work in works])
        return Work(cost + sum(work.cost for work in works), sum(work.walked for work in works), size)

    def _named(self, node: Node, known: Known) -> Work | None:
        """A field, an element's name, a type; None for a field selected from the value of something else."""
        name = dotted(node)
        if name is None:
            return None
        root = name.partition(".")[0]
        if root in known:
            return Work(1, 0, known[name][0]) if node.kind == "name" else None
        if name in self._shapes:
            self.names.add(name)
            return Work(1, 0, size_of(self._shapes[name]))
        if (node.kind == "name" and name in _TYPES) or name in _KNOWN_TYPES:
            return Work(1)
        field = _longest(name, self._shapes)
        if field is None or self._shapes[field].kind is not FieldType.DYN:
            raise ExpressionInvalid(f"there is no field '{name}'", _wrong(node, self._shapes), did_you_mean(name, self._shapes))
        return None

    def _macro(self, node: Node, known: Known, macros: int) -> Work:
        if macros >= MAX_NESTED_MACROS:
            raise ExpressionInvalid(f"at most {MAX_NESTED_MACROS} {node.name}() and the like stand in each other", node.start + 1)
        if node.variable in self._roots or node.variable in _TYPES or node.variable.startswith("__"):
            raise ExpressionInvalid(f"'{node.variable}' means something else already", node.start + 1)
        walked = self.of(node.children[0], known, macros)
        # An average counts once: walked again in each round, an element may be the largest every time.
        inside = {name: (largest, largest) for name, (_, largest) in known.items()}
        inside[node.variable] = walked.size.each, walked.size.element
        bodies = [self.of(body, inside, macros + 1) for body in node.children[1:]]
        items = walked.size.walked
        cost = items * (3 + sum(body.cost for body in bodies))
        size = SCALAR
        if node.name in {"map", "filter"}:
            cost += items * walked.size.items / 10  # the list is built again with every element
            size = Size(items=walked.size.items, item=bodies[-1].size if node.name == "map" else walked.size.element)
        return Work(walked.cost + cost, walked.walked + items * (1 + sum(body.walked for body in bodies)), size)

    def _own(self, node: Node, sizes: list[Size]) -> tuple[float, Size]:
        """The node without its parts."""
        match node.kind:
            case "if":
                return 1, sizes[1].or_(sizes[2])
            case "==" | "!=" | "<" | "<=" | ">" | ">=":
                return 2 + min(sizes[0].comparing, sizes[1].comparing), SCALAR
            case "in":
                return 2 + sizes[1].walked + min(sizes[1].walked * sizes[0].comparing, sizes[1].comparing), SCALAR
            case "+":
                both = sizes[0].and_(sizes[1])
                return 2 + both.characters / 20 + both.items, both
            case "list" | "map":
                return self._literal(node, sizes)
            case "select" | "index":
                return 3, sizes[0].element
            case "call" | "method":
                return self._called(node, sizes)
        return 2 if node.kind in _ARITHMETIC else 1, SCALAR

    def _literal(self, node: Node, sizes: list[Size]) -> tuple[float, Size]:
        if len(sizes) > MAX_LITERAL_ITEMS * (1 if node.kind == "list" else 2):
            raise ExpressionInvalid(f"a list that is written out has at most {MAX_LITERAL_ITEMS} items", node.start + 1)
        item = SCALAR
        for size in sizes:
            item = item.or_(size)
        return 3 + 3 * len(sizes), Size(items=len(sizes), item=item)

    def _called(self, node: Node, sizes: list[Size]) -> tuple[float, Size]:
        offered = METHODS if node.kind == "method" else CALLS
        if node.name not in offered:
            raise ExpressionInvalid(f"there is no function '{node.name}'", node.start + 1, did_you_mean(node.name, offered))
        counts, function = offered[node.name]
        if len(sizes) - (node.kind == "method") not in counts:
            raise ExpressionInvalid(f"{node.name}() does not take so many arguments", node.start + 1)
        return function(node, sizes)


def _wrong(node: Node, shapes: Shapes) -> int:
    """The column of the part of a dotted name from which on there is no such field."""
    known = ""
    while node.kind == "select":
        before = dotted(node.children[0]) or ""
        if any(field == before or field.startswith(f"{before}.") for field in shapes):
            known = before
            break
        node = node.children[0]
    return (node.end - len(node.name) if known and node.kind == "select" else node.start) + 1


def _longest(name: str, shapes: Shapes) -> str | None:
    """The longest declared field the name begins with."""
    while name:
        if name in shapes:
            return name
        name = name.rpartition(".")[0]
    return None
