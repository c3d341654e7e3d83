"""The built-in engine passes the suite."""

from __future__ import annotations

import pytest

from libs.common.work import Work
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.starting import StartingSuite
from services.workflows.tests.engine.suite import CancellingSuite, StepsSuite, StormSuite, SuspensionSuite, VersionsSuite, WaitsSuite


@pytest.fixture
async def engine(work: Work) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine)
    await driver.learn_catalogue()
    return driver


class TestStarting(StartingSuite): ...


class TestVersions(VersionsSuite): ...


class TestSteps(StepsSuite): ...


class TestWaits(WaitsSuite): ...


class TestCancelling(CancellingSuite): ...


class TestSuspension(SuspensionSuite): ...


class TestStorms(StormSuite): ...
