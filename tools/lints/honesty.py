"""Nothing is swallowed, nothing is left for later, nobody real is mentioned."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tools.lints.source import Finding, Source, dotted

_LOGGERS = {"log", "logger", "_log"}
_UNFINISHED = re.compile(r"#.*\b(TODO|FIXME|XXX|HACK)\b")
_SKIPS = {"pytest.skip", "pytest.xfail", "pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail", "pytest.importorskip"}
_EMAIL = re.compile(r"(?<![\w.+/:@\\-])([\w.+-]+)@((?:[\w-]+\.)+[a-zA-Z]{2,})\b")


def swallow(source: Source) -> Iterator[Finding]:
    """A consumer once lost a week of deliveries in an ``except Exception: pass``."""
    if source.is_test or source.parts[0] == "tools":
        return
    for node in source.nodes:
        if isinstance(node, ast.ExceptHandler) and _catches_everything(node) and not _answers(node):
            yield source.finding("swallow", node, "whatever it was is swallowed here: raise, or log it with exc_info")


def _catches_everything(node: ast.ExceptHandler) -> bool:
    caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or dotted(kind) in {"Exception", "BaseException"} for kind in caught)


def _answers(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) or _logs(node) for node in ast.walk(handler))


def _logs(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    to_log = dotted(node.func.value).rpartition(".")[2] in _LOGGERS
    return to_log and (node.func.attr == "exception" or any(keyword.arg == "exc_info" for keyword in node.keywords))


def unfinished(source: Source) -> Iterator[Finding]:
    """What is left for later in a comment, or skipped in a test, is found by a patient first."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if _UNFINISHED.search(line) and "tools/lints" not in source.path and "tools/tests" not in source.path:
            yield source.finding("unfinished", number, "finish it, or write an issue; comments are not a list of work")
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and dotted(node) in _SKIPS:
            yield source.finding("unfinished", node, f"{dotted(node)}: a test that does not run proves nothing")


def emails(path: str, text: str) -> Iterator[Finding]:
    """A test once wrote to the person whose address somebody had thought up. Addresses end in .example (RFC 2606)."""
    for number, line in enumerate(text.splitlines(), 1):
        for match in _EMAIL.finditer(line):
            if not match[2].lower().endswith(".example"):
                yield Finding(path, number, "emails", match[2], f"an address at {match[2]}; addresses here end in .example")
