"""The service under test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest

from deploy.native.state import ROOT
from deploy.native.temporal import skipping_server as skipping_program
from libs.common.service import Service
from services.workflows.app import build
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.rules.definitions.compiling import CompiledDefinition
from services.workflows.settings import Settings
from services.workflows.tests.engine.temporal import Skipping, skipping


@pytest.fixture(scope="session")
def service_name() -> str:
    return "workflows"


@pytest.fixture(scope="session")
def service(settings_for: Callable[..., Any]) -> Service:
    return build(settings_for(Settings))


@pytest.fixture(scope="session")
async def skipping_server() -> AsyncIterator[Skipping]:
    """Temporal's test server, once per worker of the test run."""
    async with skipping(str(skipping_program(ROOT / ".vantage"))) as server:
        yield server


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> set[UUID]:
    """Workflows that were published and compile no more, as if our code had changed."""
    workflows: set[UUID] = set()
    compiled = PublishedWorkflows._compiled

    def compiling(self: PublishedWorkflows, workflow_id: UUID, version: int, definition_: dict[str, object]) -> CompiledDefinition:
        if workflow_id in workflows:
            message = "no such step any more"
            raise ValueError(message)
        return compiled(self, workflow_id, version, definition_)

    monkeypatch.setattr(PublishedWorkflows, "_compiled", compiling)
    return workflows
