"""The migration step: every service's history, each as its owner role. Before the code, never at its start."""

from __future__ import annotations

from deploy.native.state import State
from libs.common.migrations import migrate
from libs.contracts.topics import SERVICES


def run(state: State) -> None:
    """Repeatable; each migration is a transaction of its own. One process: importing six times would cost more than migrating."""
    for service in SERVICES:
        migrate(service, state.url(f"{service}_owner"))
