"""Who may speak to the network."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tools.lints.source import Finding, Source

_SPEAKS = {"urllib.request", "http.client", "socketserver", "ftplib", "xmlrpc.client"}


def network(source: Source) -> Iterator[Finding]:
    """A door that asks another service inside a request stands still when that one does. Only adapters reach out.

    Whole packages are a matter of import-linter; this is about parts of packages that are harmless otherwise.
    """
    if not source.is_product or source.room in {"adapters", "app"} or source.service is None:
        return
    for node in source.nodes:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in _SPEAKS.intersection(names):
            yield source.finding("network", node, f"{name} is imported; only adapters speak to the network")
