"""Temporal passes the suite."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.common.work import Work
from services.workflows.tests.engine.starting import StartingSuite
from services.workflows.tests.engine.suite import CancellingSuite, StepsSuite, StormSuite, SuspensionSuite, VersionsSuite, WaitsSuite
from services.workflows.tests.engine.temporal import Skipping, TemporalDriver


@pytest.fixture
async def engine(work: Work, skipping_server: Skipping) -> AsyncIterator[TemporalDriver]:
    driver = TemporalDriver(work.engine, skipping_server)
    await driver.learn_catalogue()
    before = skipping_server.advanced
    yield driver
    if await driver.runs():
        assert skipping_server.advanced > before  # Temporal did it, nobody else
    del skipping_server.drivers[driver.practice]


class TestStarting(StartingSuite): ...


class TestVersions(VersionsSuite): ...


class TestSteps(StepsSuite): ...


class TestWaits(WaitsSuite): ...


class TestCancelling(CancellingSuite): ...


class TestSuspension(SuspensionSuite): ...


class TestStorms(StormSuite): ...
