"""Whatever the order of arrival, a chain of bookings ends as one appointment in its last state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID, uuid4

import pytest

from services.scheduling.rules.attendees import AttendeeDetails
from services.scheduling.rules.notices import BookingNotice, Decision, Known, NoticeKind, Verdict, classify

NINE = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


def notice(
    kind: NoticeKind, uid: str, *, hour: int = 0, previous: str | None = None, root: str | None = None, seq: int | None = None
) -> BookingNotice:
    starts_at = NINE + timedelta(hours=hour)
    return BookingNotice(
        kind=kind, uid=uid, key=uid, delivery_key=f"{kind}|{uid}|{hour}", starts_at=starts_at, ends_at=starts_at + timedelta(minutes=30),
        time_zone="UTC", resource="calcom/host/5", title="", attendee=AttendeeDetails(email="jo@berg.example"), previous_key=previous,
        root_key=root, sequence=seq,
    )  # fmt: skip


@dataclass
class Appointment:
    key: str
    starts_at: datetime
    ends_at: datetime
    sequence: int | None
    cancelled: bool = False


class Memory:
    """The smallest thing that remembers what decisions say."""

    def __init__(self) -> None:
        self.appointments: dict[UUID, Appointment] = {}
        self.keys: dict[str, UUID] = {}

    def known(self) -> dict[str, Known]:
        found = {}
        for key, appointment_id in self.keys.items():
            a = self.appointments[appointment_id]
            found[key] = Known(appointment_id, a.key != key, a.cancelled, a.starts_at, a.ends_at, a.sequence)
        return found

    def take(self, told: BookingNotice) -> Decision:
        decision = classify(told, self.known())
        target = decision.appointment_id or uuid4()
        if decision.verdict in {Verdict.NEW, Verdict.GONE}:
            self.appointments[target] = Appointment(told.key, told.starts_at, told.ends_at, told.sequence, decision.verdict is Verdict.GONE)
        if decision.verdict is Verdict.MOVED:
            self.appointments[target] = Appointment(told.key, told.starts_at, told.ends_at, told.sequence)
        if decision.verdict is Verdict.CANCELLED:
            self.appointments[target].cancelled = True
            self.appointments[target].key = decision.current or self.appointments[target].key
        if decision.absorb is not None:
            self.appointments[decision.absorb].cancelled = True
        for key in (*decision.older, decision.current):
            if key is not None:
                self.keys[key] = target
        return decision

    @property
    def live(self) -> list[datetime]:
        return [a.starts_at for a in self.appointments.values() if not a.cancelled]


C, M, X = NoticeKind.CREATED, NoticeKind.MOVED, NoticeKind.CANCELLED


def chain(length: int, *, told: str, cancelled: bool = False) -> list[BookingNotice]:
    """A booking moved ``length - 1`` times; ``told`` says how much each notice tells about its chain."""
    notices = [notice(C, "u0", seq=0 if told != "little" else None)]
    for n in range(1, length):
        seq = n if told != "little" else None
        notices.append(notice(M, f"u{n}", hour=n, previous=f"u{n - 1}", root="u0" if told == "root" and n > 1 else None, seq=seq))
    if cancelled:
        notices.append(notice(X, f"u{length - 1}", hour=length - 1, seq=length if told != "little" else None))
    return notices


class TestAnyOrder:
    @pytest.mark.parametrize("told", ["little", "sequence", "root"])
    @pytest.mark.parametrize("length", [1, 2, 3, 4])
    def test_ends_as_one_appointment_at_its_last_time(self, length: int, told: str) -> None:
        notices = chain(length, told=told)
        for order in permutations(notices):
            memory = Memory()
            for told_now in (*order, *order):
                memory.take(told_now)
            assert memory.live == [NINE + timedelta(hours=length - 1)], [n.uid for n in order]

    @pytest.mark.parametrize("told", ["little", "sequence", "root"])
    @pytest.mark.parametrize("length", [1, 2, 3, 4])
    def test_ends_cancelled_when_its_last_booking_was_cancelled(self, length: int, told: str) -> None:
        notices = chain(length, told=told, cancelled=True)
        for order in permutations(notices):
            memory = Memory()
            for told_now in (*order, *order):
                memory.take(told_now)
            assert memory.live == [], [(n.kind.value, n.uid) for n in order]


class TestOneByOne:
    def test_takes_an_unheard_of_booking_as_new(self) -> None:
        assert Memory().take(notice(C, "a")).verdict is Verdict.NEW

    def test_sees_the_same_booking_again_as_a_duplicate(self) -> None:
        memory = Memory()
        memory.take(notice(C, "a"))
        assert memory.take(notice(C, "a")).verdict is Verdict.DUPLICATE

    def test_moves_the_appointment_a_new_booking_points_back_to(self) -> None:
        memory = Memory()
        memory.take(notice(C, "a"))
        assert memory.take(notice(M, "b", hour=2, previous="a")).verdict is Verdict.MOVED

    def test_takes_a_move_of_an_unheard_of_booking_as_new(self) -> None:
        assert Memory().take(notice(M, "b", hour=2, previous="a")).verdict is Verdict.NEW

    def test_finds_a_created_stale_after_its_move(self) -> None:
        memory = Memory()
        memory.take(notice(M, "b", hour=2, previous="a"))
        assert memory.take(notice(C, "a")).verdict is Verdict.STALE

    def test_finds_a_created_stale_after_its_cancellation(self) -> None:
        memory = Memory()
        assert memory.take(notice(X, "a")).verdict is Verdict.GONE
        assert memory.take(notice(C, "a")).verdict is Verdict.STALE

    def test_ignores_a_cancellation_of_a_booking_that_was_moved(self) -> None:
        memory = Memory()
        memory.take(notice(C, "a"))
        memory.take(notice(M, "b", hour=1, previous="a"))
        assert memory.take(notice(X, "a")).verdict is Verdict.STALE
        assert len(memory.live) == 1

    def test_books_anew_when_the_guest_picks_another_time_after_a_cancellation(self) -> None:
        memory = Memory()
        memory.take(notice(C, "a"))
        memory.take(notice(X, "a"))
        assert memory.take(notice(M, "b", hour=3, previous="a")).verdict is Verdict.NEW
        assert memory.live == [NINE + timedelta(hours=3)]

    def test_cancels_the_booking_a_cancelled_successor_points_back_to(self) -> None:
        memory = Memory()
        memory.take(notice(C, "a"))
        assert memory.take(notice(X, "b", hour=1, previous="a")).verdict is Verdict.CANCELLED
        assert memory.live == []

    def test_moves_in_place_only_by_a_higher_sequence(self) -> None:
        memory = Memory()
        memory.take(notice(C, "a", seq=1))
        assert memory.take(notice(C, "a", hour=1, seq=1)).verdict is Verdict.STALE
        assert memory.take(notice(C, "a", hour=1, seq=2)).verdict is Verdict.MOVED

    def test_keeps_two_unconnected_bookings_apart(self) -> None:
        memory = Memory()
        memory.take(notice(C, "a"))
        memory.take(notice(C, "b"))
        assert len(memory.live) == 2

    def test_keeps_both_when_one_booking_was_replaced_twice_and_nothing_tells_which_is_later(self) -> None:
        memory = Memory()
        memory.take(notice(C, "a"))
        memory.take(notice(M, "b", hour=1, previous="a"))
        assert memory.take(notice(M, "c", hour=2, previous="a")).verdict is Verdict.NEW
        assert len(memory.live) == 2

    def test_ignores_a_root_that_is_the_booking_itself(self) -> None:
        told = replace(notice(M, "a", previous="a"), previous_key="a", root_key="a")
        assert Memory().take(told).older == ()
