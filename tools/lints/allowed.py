"""Exceptions from our own lints: the rule, the file, the name it is about, and why. A stale one fails the gate."""

from __future__ import annotations

from typing import NamedTuple


class Allowed(NamedTuple):
    rule: str
    path: str
    name: str
    reason: str


ALLOWED: tuple[Allowed, ...] = (
    Allowed("sleep", "libs/testing/probe.py", "probe.py", "the one place that waits between two looks, so that no test has to"),
    Allowed("sql-from-values", "services/audit/commands/reconcile.py", "reconcile.py", "one select per outbox; the services are constants"),
    Allowed(
        "sql-from-values",
        "libs/common/secrets/rotation.py",
        "rotation.py",
        "a service declares in its app where sealed values are; plain names only",
    ),
    Allowed("emails", "services/scheduling/tests/test_adapters_calcom.py", "Cal.com", "an iCalUID as the vendor writes it, not an address"),
    Allowed(
        "sql-from-values",
        "libs/common/migrations.py",
        "migrations.py",
        "DDL takes no parameters; names come from migrations, not from input",
    ),
)
