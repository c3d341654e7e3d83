"""The built-in engine passes the suite."""

from __future__ import annotations

import pytest

from libs.common.work import Work
from services.workflows.tests.engine.appointments import AnchoredSuite, ClocksSuite, PastDueSuite
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.catching_up import CatchingUpSuite
from services.workflows.tests.engine.complaints import ComplaintsSuite
from services.workflows.tests.engine.enrolling import EnrolmentSuite
from services.workflows.tests.engine.existing import ExistingSuite
from services.workflows.tests.engine.holding import HoldingSuite
from services.workflows.tests.engine.many import BulkSuite, PausedWorkflowsSuite, RerunSuite
from services.workflows.tests.engine.matching import MatchingSuite
from services.workflows.tests.engine.occasions import ByHandSuite, ChainsSuite, SchedulesSuite, WatchdogSuite, WebhooksSuite
from services.workflows.tests.engine.resolving import ResolvingSuite
from services.workflows.tests.engine.retrying import ErrorPolicySuite, RetriesSuite, RetryByHandSuite
from services.workflows.tests.engine.starting import StartingSuite, TagsSuite
from services.workflows.tests.engine.suite import CancellingSuite, StepsSuite, StormSuite, SuspensionSuite, VersionsSuite, WaitsSuite
from services.workflows.tests.engine.suppressing import SuppressionSuite
from services.workflows.tests.engine.waiting import EventWaitsSuite, LocalTimesSuite


@pytest.fixture
async def engine(work: Work) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine)
    await driver.learn_catalogue()
    return driver


class TestStarting(StartingSuite): ...


class TestTags(TagsSuite): ...


class TestVersions(VersionsSuite): ...


class TestSteps(StepsSuite): ...


class TestWaits(WaitsSuite): ...


class TestCancelling(CancellingSuite): ...


class TestSuspension(SuspensionSuite): ...


class TestStorms(StormSuite): ...


class TestAnchored(AnchoredSuite): ...


class TestExisting(ExistingSuite): ...


class TestPastDue(PastDueSuite): ...


class TestClocks(ClocksSuite): ...


class TestLocalTimes(LocalTimesSuite): ...


class TestEventWaits(EventWaitsSuite): ...


class TestEnrolment(EnrolmentSuite): ...


class TestSuppression(SuppressionSuite): ...


class TestRetries(RetriesSuite): ...


class TestErrorPolicy(ErrorPolicySuite): ...


class TestRetryByHand(RetryByHandSuite): ...


class TestMatching(MatchingSuite): ...


class TestResolving(ResolvingSuite): ...


class TestPausedWorkflows(PausedWorkflowsSuite): ...


class TestBulk(BulkSuite): ...


class TestRerun(RerunSuite): ...


class TestByHand(ByHandSuite): ...


class TestSchedules(SchedulesSuite): ...


class TestWebhooks(WebhooksSuite): ...


class TestChains(ChainsSuite): ...


class TestWatchdog(WatchdogSuite): ...


class TestHolding(HoldingSuite): ...


class TestCatchingUp(CatchingUpSuite): ...


class TestWhatPeopleComplainAbout(ComplaintsSuite): ...
