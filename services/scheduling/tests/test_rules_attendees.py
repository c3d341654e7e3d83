"""Contact details in one spelling, and whom they belong to."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from services.scheduling.rules.attendees import AttendeeDetails, Candidate, match, normal_email, normal_name, normal_phone, shown_name


def candidate(name: str = "", email: str | None = None, phone: str | None = None) -> Candidate:
    return Candidate(uuid4(), normal_name(name), email, phone)


class TestNormalise:
    @pytest.mark.parametrize(
        ("text", "kept"), [(" Jo@Berg.Example ", "jo@berg.example"), ("jo", None), ("a@b", None), (None, None), (7, None)]
    )
    def test_writes_an_email_in_lower_case_or_not_at_all(self, text: object, kept: str | None) -> None:
        assert normal_email(text) == kept

    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ("+49 170 123-45.67", "+491701234567"),
            ("0049 170 1234567", "+491701234567"),
            ("0170 1234567", None),
            ("", None),
            (["+49"], None),
        ],
    )
    def test_writes_a_phone_number_as_e164_or_not_at_all(self, text: object, kept: str | None) -> None:
        assert normal_phone(text) == kept

    def test_compares_names_without_case_accents_and_spaces(self) -> None:
        assert normal_name("  Zoë   BERG ") == normal_name("zoe berg")

    def test_shows_names_without_control_characters(self) -> None:
        assert shown_name("Jo\x00\r\nBerg") == "Jo Berg"
        assert shown_name({"name": "Jo"}) == ""
        assert len(shown_name("x" * 1000)) == 200


class TestMatch:
    def test_finds_the_one_patient_with_that_email(self) -> None:
        jo = candidate("Jo Berg", "jo@berg.example")
        assert match(AttendeeDetails("Somebody", "jo@berg.example"), [jo, candidate("Al Moss", "al@moss.example")]) == jo.patient_id

    def test_finds_the_one_patient_with_that_phone(self) -> None:
        jo = candidate("Jo Berg", None, "+12025550101")
        assert match(AttendeeDetails("Jo", "jo@berg.example", "+12025550101"), [jo]) == jo.patient_id

    def test_lets_the_email_win_over_the_phone(self) -> None:
        by_email, by_phone = candidate("A", "jo@berg.example"), candidate("B", None, "+12025550101")
        assert match(AttendeeDetails("", "jo@berg.example", "+12025550101"), [by_phone, by_email]) == by_email.patient_id

    def test_lets_the_name_decide_within_a_family(self) -> None:
        family = [candidate("Jo Berg", "home@berg.example"), candidate("Zoë Berg", "home@berg.example")]
        assert match(AttendeeDetails("zoe  berg", "home@berg.example"), family) == family[1].patient_id

    def test_lets_the_phone_decide_within_a_family(self) -> None:
        family = [candidate("Jo", "home@berg.example", "+12025550101"), candidate("Zoe", "home@berg.example", "+12025550102")]
        assert match(AttendeeDetails("", "home@berg.example", "+12025550102"), family) == family[1].patient_id

    @pytest.mark.parametrize("name", ["", "Somebody Else"])
    def test_finds_nobody_when_two_could_be_meant(self, name: str) -> None:
        family = [candidate("Jo Berg", "home@berg.example"), candidate("Zoe Berg", "home@berg.example")]
        assert match(AttendeeDetails(name, "home@berg.example"), family) is None

    def test_finds_nobody_by_name_alone(self) -> None:
        assert match(AttendeeDetails("Jo Berg"), [candidate("Jo Berg", None, None)]) is None

    def test_finds_nobody_among_nobody(self) -> None:
        found: UUID | None = match(AttendeeDetails("Jo", "jo@berg.example", "+12025550101"), [])
        assert found is None
