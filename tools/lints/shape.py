"""Sizes and names: what keeps a room a room."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tools.lints.source import Finding, Source

FILE_LINES = 400
TEST_FILE_LINES = 600
APP_LINES = 60
FUNCTION_LINES = 50
"""40 is the aim, 50 the end."""

MODULE_NAMES = {"base", "common", "core", "helper", "helpers", "manager", "managers", "misc", "service", "services", "util", "utils"}
SUFFIXES = ("Service", "Manager", "Helper", "Util", "Utils", "Impl", "DTO", "Base")


def size(source: Source) -> Iterator[Finding]:
    """The file that grew to four thousand lines was once four hundred and one."""
    lines = source.text.count("\n")
    limit = TEST_FILE_LINES if source.is_test else APP_LINES if source.room == "app" else FILE_LINES
    if lines > limit:
        yield source.finding("size", 1, f"{lines} lines, at most {limit}; split the room by noun")
    for node in source.nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and source.room != "migrations":
            length = own_lines(node)
            if length > FUNCTION_LINES:
                yield source.finding("size", node, f"{node.name} has {length} lines, at most {FUNCTION_LINES}", node.name)


def own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without those of functions declared inside it: a door that registers handlers is a list."""
    inner = [node for node in ast.walk(function) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node is not function]
    covered = {line for node in inner for line in range(_first_line(node), (node.end_lineno or 0) + 1)}
    return len(set(range(_first_line(function), (function.end_lineno or 0) + 1)) - covered)


def _first_line(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def names(source: Source) -> Iterator[Finding]:
    """A module called utils collects what nobody could place, and then everybody imports it."""
    if source.path != "libs/common/service.py" and source.service is not None and _module_name(source) in MODULE_NAMES:
        yield source.finding("names", 1, f"a module called {_module_name(source)} says nothing; name what it holds")
    if source.parts[0] in {"libs", "tools", "deploy"} and source.stem in MODULE_NAMES - {"service"}:
        yield source.finding("names", 1, f"a module called {source.stem} says nothing; name what it holds")
    for node in source.nodes:
        if isinstance(node, ast.ClassDef) and source.is_product and _empty_word(node):
            yield source.finding("names", node, f"{node.name}: the suffix says nothing; name what it does or holds", node.name)


def _module_name(source: Source) -> str:
    if len(source.parts) == 3:
        return source.stem
    return next((part.removesuffix(".py") for part in source.parts[2:] if part.removesuffix(".py") in MODULE_NAMES), source.stem)


def _empty_word(node: ast.ClassDef) -> bool:
    abstract = any(isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "__abstract__" for line in node.body)
    return node.name.endswith(SUFFIXES) and node.name not in SUFFIXES and not abstract


def header(source: Source) -> Iterator[Finding]:
    """A newcomer opens a file to learn what it is for; the first line answers."""
    if source.tree.body and ast.get_docstring(source.tree) is None:
        yield source.finding("header", 1, "a module says in its first lines what it is for")
