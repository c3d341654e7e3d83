"""Where SQL may stand, and that values never become part of its text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TypeGuard

from tools.lints.source import Finding, Source, dotted

SPEECHLESS = {"api", "consumers", "timers", "durable", "actions", "adapters", "rules", "app", "settings"}
_SQL = re.compile(
    r"^\s*(SELECT\s+\S+.*\sFROM\s|SELECT\s+\w+\(|INSERT\s+INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s|WITH\s+\w+\s*(\([^)]*\)\s*)?AS\s*\(|"
    r"(CREATE|ALTER|DROP|TRUNCATE|GRANT|REVOKE)\s+[A-Z]+\s)",
    re.DOTALL,
)


class _MethodCall(ast.Call):
    """A call of ``something.method(...)``."""

    func: ast.Attribute


def is_sql(text: str) -> bool:
    return _SQL.match(text) is not None


def sql_in_door(source: Source) -> Iterator[Finding]:
    """A door that asks the database itself forgets the practice in its where clause sooner or later."""
    if source.is_test or source.room not in SPEECHLESS:
        return
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and is_sql(node.value):
            yield source.finding("sql-in-door", node, f"{source.room} speaks no SQL; it belongs to commands or queries")


def sql_from_values(source: Source) -> Iterator[Finding]:
    """Text assembled into a statement is an injection waiting for its input. Only NAMED_CONSTANTS may be assembled."""
    if not source.is_product or source.room == "migrations":
        return
    for node in source.nodes:
        if _assembled(node):
            yield source.finding("sql-from-values", node, "SQL is assembled from values; pass parameters ($1) or assemble constants")


def _assembled(node: ast.AST) -> bool:
    if isinstance(node, ast.JoinedStr):
        return is_sql(_text(node)) and not all(_constant(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mod, ast.Add)):
        return _is_sql_text(node.left) and not _constant(node.right)
    return _calls(node, {"format"}) and _is_sql_text(node.func.value)


def _calls(node: ast.AST, methods: set[str]) -> TypeGuard[_MethodCall]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in methods


def commit(source: Source) -> Iterator[Finding]:
    """A commit inside a command splits its unit of work: the event went out, the change did not."""
    if source.is_test or source.service is None or source.room == "migrations":
        return
    for node in source.nodes:
        if _calls(node, {"commit", "rollback"}) and not node.args:
            yield source.finding("commit", node, "leaving the unit of work commits; nobody else does")


def _text(node: ast.JoinedStr) -> str:
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)


def _is_sql_text(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and is_sql(node.value)
    return isinstance(node, ast.JoinedStr) and is_sql(_text(node))


def _constant(node: ast.AST) -> bool:
    inner = node.value if isinstance(node, ast.FormattedValue) else node
    return isinstance(inner, ast.Constant) or dotted(inner).rpartition(".")[2].lstrip("_").isupper()
