"""Whatever order reports come in, and however often: the same is said, once, in the same order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.scheduling import CallDirection, CallStatus
from services.scheduling.rules.calls import CallReport, News, later_status, news_of

ORDER = tuple(News)


def report(kind: News, *, connected: bool = True) -> CallReport:
    return CallReport(kind, "c", CallDirection.INBOUND, "agent", connected)


def said(reports: list[CallReport]) -> list[News]:
    told: list[News] = []
    for each in reports:
        told += news_of(each, told)
    return told


class TestNews:
    @given(st.lists(st.sampled_from(ORDER), min_size=1, max_size=8))
    def test_of_a_call_somebody_answered_come_once_and_in_order(self, kinds: list[News]) -> None:
        found = said([report(kind) for kind in kinds])
        assert found == list(ORDER[: max(ORDER.index(kind) for kind in kinds) + 1])

    @given(st.lists(st.sampled_from([News.ENDED, News.ANALYZED]), min_size=1, max_size=6))
    def test_of_a_missed_call_never_tell_of_a_start(self, kinds: list[News]) -> None:
        found = said([report(kind, connected=False) for kind in kinds])
        assert found == ([News.ENDED, News.ANALYZED] if News.ANALYZED in kinds else [News.ENDED])

    def test_of_a_start_after_the_end_are_none(self) -> None:
        assert said([report(News.ENDED, connected=False), report(News.STARTED)]) == [News.ENDED]


class TestStatus:
    @given(st.sampled_from(CallStatus), st.sampled_from(CallStatus))
    def test_never_goes_back(self, known: CallStatus, reported: CallStatus) -> None:
        once = later_status(known, reported)
        assert once in {known, reported}
        assert later_status(once, known) == once

    def test_of_a_request_given_up_is_corrected_by_the_call_itself(self) -> None:
        assert later_status(CallStatus.FAILED, CallStatus.ONGOING) is CallStatus.ONGOING
