"""Regular expressions that mean what they look like."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tools.lints.source import Finding, Source, dotted


def patterns(source: Source) -> Iterator[Finding]:
    """``$`` also matches before a final line break: an address with one went through, and into a mail header."""
    if not source.is_product:
        return
    for node in source.nodes:
        if isinstance(node, ast.Call) and dotted(node.func).startswith("re.") and node.args:
            pattern = node.args[0]
            if isinstance(pattern, ast.Constant) and str(pattern.value).endswith("$") and not str(pattern.value).endswith("\\$"):
                yield source.finding("patterns", node, "$ lets a line break follow; use fullmatch, or \\Z")
