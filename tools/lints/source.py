"""One Python file under examination, and what is found in it."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = {".git", ".venv", ".vantage", "build", "node_modules", "__pycache__"}


@dataclass(frozen=True, order=True)
class Finding:
    """``name`` is the function, class or file the finding is about; exceptions are granted by path, rule and name."""

    path: str
    line: int
    rule: str
    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


class Source:
    """A file by its path below the root, with forward slashes."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.parts = tuple(path.split("/"))
        self.stem = self.parts[-1].removesuffix(".py")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @property
    def is_test(self) -> bool:
        return "tests" in self.parts or self.stem == "conftest" or self.parts[:2] == ("libs", "testing")

    @property
    def service(self) -> str | None:
        """The service this file belongs to."""
        return self.parts[1] if self.parts[0] == "services" and len(self.parts) > 2 else None

    @property
    def room(self) -> str | None:
        """The room of its service: ``commands`` for ``commands.py`` and for everything below ``commands/``."""
        return self.parts[2].removesuffix(".py") if self.service else None

    @property
    def is_product(self) -> bool:
        """Code that runs in a service: not tests, not tools, not deployment."""
        return not self.is_test and (self.service is not None or self.parts[:2] in {("libs", "common"), ("libs", "contracts")})

    def finding(self, rule: str, node: ast.AST | int, message: str, name: str | None = None) -> Finding:
        line = node if isinstance(node, int) else getattr(node, "lineno", 1)
        return Finding(self.path, line, rule, name or self.parts[-1], message)


def dotted(node: ast.AST) -> str:
    """``a.b.c`` for a chain of names; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def files(root: Path = ROOT) -> Iterator[Path]:
    """Every file of the tree that is ours, in a stable order."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in ELSEWHERE and not name.endswith((".egg-info", "_cache")))
        yield from (Path(folder) / name for name in sorted(names))


def sources(root: Path = ROOT) -> Iterator[Source]:
    for path in files(root):
        if path.suffix == ".py":
            yield Source(path.relative_to(root).as_posix(), path.read_text())
