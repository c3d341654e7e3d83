"""``python -m tools.lints``: one line per finding, exit code 1 when there is any."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tools.lints import determinism, honesty, network, patterns, shape, sql
from tools.lints.allowed import ALLOWED, Allowed
from tools.lints.source import ROOT, Finding, Source, files, sources

RULES: tuple[Callable[[Source], Iterator[Finding]], ...] = (
    determinism.clock,
    determinism.environment,
    determinism.sleep,
    network.network,
    patterns.patterns,
    sql.sql_in_door,
    sql.sql_from_values,
    sql.commit,
    shape.size,
    shape.names,
    shape.header,
    honesty.swallow,
    honesty.unfinished,
)
TEXTS = {".py", ".md", ".json", ".yaml", ".yml", ".toml", ".sql", ".sh", ".cfg", ".conf", ".html", ".txt", ".example", ""}


def examine(source: Source) -> list[Finding]:
    """Everything our rules find in one file."""
    return [finding for rule in RULES for finding in rule(source)]


def findings(root: Path = ROOT) -> list[Finding]:
    found = [finding for source in sources(root) for finding in examine(source)]
    for path in files(root):
        if path.suffix in TEXTS:
            found += honesty.emails(path.relative_to(root).as_posix(), path.read_text(errors="replace"))
    return sorted(found)


def judged(found: Iterable[Finding], allowed: Iterable[Allowed] = ALLOWED) -> list[str]:
    """What remains after the exceptions, and every exception that nothing needs any more."""
    granted = {(entry.rule, entry.path, entry.name): entry for entry in allowed}
    needed = set()
    lines = []
    for finding in found:
        key = (finding.rule, finding.path, finding.name)
        if key in granted:
            needed.add(key)
        else:
            lines.append(str(finding))
    stale = [entry for key, entry in granted.items() if key not in needed]
    lines += [f"tools/lints/allowed.py: {entry.rule} for {entry.path} ({entry.name}) is not needed any more" for entry in stale]
    return lines


def main() -> int:
    lines = judged(findings())
    for line in lines:
        print(line)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
