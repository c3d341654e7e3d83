"""Cal.com's bodies in our words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from services.scheduling.adapters.calcom import PING, read_notice
from services.scheduling.rules.attendees import AttendeeDetails
from services.scheduling.rules.no_shows import NoShowNotice
from services.scheduling.rules.notices import BookingNotice, NoticeKind, SetAside
from services.scheduling.tests.cal import cancelled, created, moved, no_show


def read(body: dict[str, Any]) -> BookingNotice:
    found = read_notice(orjson.dumps(body))
    assert isinstance(found, BookingNotice), found
    return found


def aside(raw: bytes) -> SetAside:
    found = read_notice(raw)
    assert isinstance(found, SetAside)
    return found


class TestReadsABooking:
    def test_in_our_words(self) -> None:
        notice = read(created("uid-1"))
        assert notice == BookingNotice(
            kind=NoticeKind.CREATED,
            uid="uid-1",
            key="uid-1",
            delivery_key="BOOKING_CREATED|uid-1|2026-12-10T09:00:00+00:00|jonas@berg.example",
            starts_at=datetime(2026, 12, 10, 9, 0, tzinfo=UTC),
            ends_at=datetime(2026, 12, 10, 9, 30, tzinfo=UTC),
            time_zone="Europe/Berlin",
            resource="calcom/host/5",
            title="First consult",
            attendee=AttendeeDetails("Jonas Berg", "jonas@berg.example", "+491701234567"),
            sequence=0,
        )

    @pytest.mark.parametrize("text", ["2026-12-10T09:00:00Z", "2026-12-10T09:00:00.000Z", "2026-12-10T10:00:00+01:00"])
    def test_however_its_time_is_written(self, text: str) -> None:
        assert read(created("u", startTime=text)).starts_at == datetime(2026, 12, 10, 9, 0, tzinfo=UTC)

    def test_without_anything_but_what_it_cannot_do_without(self) -> None:
        body = {
            "triggerEvent": "BOOKING_CREATED",
            "payload": {
                "uid": "u",
                "startTime": "2026-12-10T09:00:00Z",
                "endTime": "2026-12-10T09:30:00Z",
                "attendees": [{"email": "A@B.example"}],
            },
        }
        notice = read(body)
        assert (notice.attendee, notice.time_zone, notice.resource, notice.title) == (
            AttendeeDetails("", "a@b.example"),
            "UTC",
            "calcom/unknown",
            "",
        )

    def test_whose_optional_fields_have_any_type(self) -> None:
        odd: dict[str, Any] = {
            "destinationCalendar": [{}], "organizer": "ada", "responses": [], "eventTypeId": "7", "iCalUID": 9, "iCalSequence": "x",
            "eventTitle": None, "type": 3, "seatsPerTimeSlot": True, "cancellationReason": {},
        }  # fmt: skip
        notice = read(created("u", **odd))
        assert (notice.resource, notice.title, notice.sequence, notice.exclusive) == ("calcom/unknown", "", None, True)

    def test_from_a_flat_body(self) -> None:
        body = created("u")
        assert read({"triggerEvent": "BOOKING_CREATED", **body["payload"]}).uid == "u"

    def test_with_a_title_that_names_no_person(self) -> None:
        assert "Jonas" not in read(created("u")).title

    def test_with_the_phone_number_wherever_it_is(self) -> None:
        body = created("u")
        body["payload"]["attendees"][0]["phoneNumber"] = None
        assert read(body).attendee.phone == "+491701234567"
        body["payload"]["responses"]["attendeePhoneNumber"] = {"label": "x"}
        assert read(body).attendee.phone is None
        body["payload"]["responses"]["location"] = {"value": {"optionValue": "+1 202 555 0101", "value": "phone"}}
        assert read(body).attendee.phone == "+12025550101"

    def test_without_control_characters(self) -> None:
        body = created("u")
        body["payload"]["attendees"][0]["name"] = "Jonas\x00\x1b Berg"
        assert read(body).attendee.name == "Jonas Berg"

    def test_in_a_zone_that_exists(self) -> None:
        body = created("u")
        body["payload"]["organizer"]["timeZone"] = "Mars/Base"
        body["payload"]["attendees"][0]["timeZone"] = "America/New_York"
        assert read(body).time_zone == "America/New_York"


class TestReadsAMove:
    def test_that_points_back_to_the_old_booking_and_the_first_one(self) -> None:
        notice = read(moved("u2", previous="u1", root="u0", sequence=2))
        assert (notice.kind, notice.key, notice.previous_key, notice.root_key, notice.sequence) == (NoticeKind.MOVED, "u2", "u1", "u0", 2)

    def test_to_the_new_time_not_the_old_one(self) -> None:
        assert read(moved("u2", previous="u1", startTime="2026-12-12T13:00:00Z", endTime="2026-12-12T13:30:00Z")).starts_at.day == 12

    def test_without_trusting_the_root_of_a_series(self) -> None:
        assert read(moved("u2", previous="u1", root="u0", recurringEvent={"freq": 2})).root_key is None


class TestReadsACancellation:
    def test_with_its_reason_on_one_line(self) -> None:
        notice = read(cancelled("u", cancellationReason="Feeling\nbetter"))
        assert (notice.kind, notice.reason) == (NoticeKind.CANCELLED, "Feeling better")

    def test_never_by_the_first_booking_of_its_chain(self) -> None:
        assert read(cancelled("u9", iCalUID="u0@Cal.com")).root_key is None


class TestReadsASeat:
    def test_as_a_booking_of_its_own(self) -> None:
        one, two = created("u", seatsPerTimeSlot=5), created("u", seatsPerTimeSlot=5)
        two["payload"]["attendees"][0]["email"] = "zoe@berg.example"
        assert read(one).key != read(two).key
        assert read(one).uid == read(two).uid == "u"
        assert not read(one).exclusive

    def test_whose_move_points_back_to_the_same_seat(self) -> None:
        assert read(moved("u", previous="u0", seatsPerTimeSlot=5)).previous_key == read(created("u0", seatsPerTimeSlot=5)).key


class TestDeliveryKey:
    def test_is_the_same_for_another_subscription_of_the_same_event(self) -> None:
        assert (
            read(created("u", sent_at="2026-12-01T08:00:00.001Z")).delivery_key
            == read(created("u", sent_at="2026-12-01T08:00:00.002Z")).delivery_key
        )

    def test_differs_by_event_booking_time_and_attendee(self) -> None:
        other = created("u")
        other["payload"]["attendees"][0]["email"] = "zoe@berg.example"
        late = created("u", startTime="2026-12-10T09:15:00Z")
        assert len({read(body).delivery_key for body in (created("u"), created("v"), cancelled("u"), late, other)}) == 5


class TestReadsANoShow:
    def test_by_guest_and_with_when_it_was_said(self) -> None:
        body = no_show("u")
        body["payload"]["attendees"] += [{"email": " Mia@Berg.example ", "noShow": False}, {"email": "x"}, {"noShow": True}, 7]
        found = read_notice(orjson.dumps(body))
        assert isinstance(found, NoShowNotice)
        assert (found.uid, found.missing) == ("u", {"jonas@berg.example": True, "mia@berg.example": False})
        assert found.said_at == datetime(2026, 3, 12, 13, 20, tzinfo=UTC)
        assert found.keys[0] == "u"
        assert len(set(found.keys)) == 3

    def test_that_does_not_say_when(self) -> None:
        found = read_notice(orjson.dumps(no_show("u", sent_at=None)))
        assert isinstance(found, NoShowNotice)
        assert found.said_at is None

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"bookingUid": None}, "booking_uid_unreadable"),
            ({"bookingUid": 91}, "booking_uid_unreadable"),
            ({"attendees": None}, "attendees_unreadable"),
            ({"attendees": {}}, "attendees_unreadable"),
            ({"attendees": [{"email": "jonas@berg.example"}]}, "attendees_unreadable"),
            ({"attendees": [{"email": "jonas@berg.example", "noShow": "true"}]}, "attendees_unreadable"),
        ],
    )
    def test_only_when_it_says_who_and_whether(self, fields: dict[str, Any], reason: str) -> None:
        body = no_show("u")
        body["payload"].update(fields)
        assert aside(orjson.dumps(body)).reason == reason
        assert aside(orjson.dumps(no_show("u", sent_at="yesterday"))).reason == "created_at_unreadable"


class TestSetsAside:
    @pytest.mark.parametrize(
        ("raw", "reason"),
        [
            (b"", "not_json"),
            (b"name=Jonas", "not_json"),
            (b'{"triggerEvent":"BOOKING_CREATED","payload":{"uid":"\\ud800"}}', "not_json"),
            (b"[1]", "not_an_object"),
            (b"{}", "trigger_missing"),
            (b'{"triggerEvent":7}', "trigger_missing"),
            (b'{"triggerEvent":"BOOKING_CREATED","payload":[]}', "payload_not_an_object"),
            (b'{"triggerEvent":"MEETING_ENDED","uid":"u"}', "trigger_not_handled"),
            (b'{"triggerEvent":"SOMETHING_NEW","payload":{}}', "trigger_not_handled"),
            (b'{"triggerEvent":"PING","payload":{}}', PING),
        ],
    )
    def test_what_is_no_booking(self, raw: bytes, reason: str) -> None:
        assert aside(raw).reason == reason

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"uid": None}, "uid_unreadable"),
            ({"uid": ""}, "uid_unreadable"),
            ({"uid": "u\x00"}, "uid_unreadable"),
            ({"uid": "u" * 201}, "uid_unreadable"),
            ({"startTime": None}, "start_time_unreadable"),
            ({"startTime": "tomorrow"}, "start_time_unreadable"),
            ({"startTime": "2026-12-10T09:00:00"}, "start_time_unreadable"),
            ({"startTime": "0001-01-01T00:00:00+23:00"}, "start_time_unreadable"),
            ({"endTime": 5}, "end_time_unreadable"),
            ({"endTime": "2026-12-10T09:00:00Z"}, "end_time_unreadable"),
            ({"attendees": []}, "attendee_email_unreadable"),
            ({"attendees": None}, "attendee_email_unreadable"),
            ({"attendees": [{"email": "jonas"}]}, "attendee_email_unreadable"),
        ],
    )
    def test_a_booking_that_lacks_what_it_cannot_do_without(self, fields: dict[str, Any], reason: str) -> None:
        body = created("u")
        body["payload"].update(fields)
        body["payload"]["responses"].pop("email")
        found = aside(orjson.dumps(body))
        assert (found.reason, found.trigger) == (reason, "BOOKING_CREATED")

    def test_the_same_bytes_under_the_same_key(self) -> None:
        assert aside(b"[1]").delivery_key == aside(b"[1]").delivery_key != aside(b"[2]").delivery_key
