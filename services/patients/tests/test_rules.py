"""How contact details are written, and what counts as a change."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.patients.rules.details import changed_fields, normal_email, normal_phone, possible_birth_date

TODAY = date(2026, 11, 24)
AT = "@"


class TestEmail:
    @pytest.mark.parametrize(
        ("typed", "kept"),
        [
            ("Mira.Holm@Mail.example", "mira.holm@mail.example"),
            ("o'neill+clinic@sub.mail.example", "o'neill+clinic@sub.mail.example"),
            ("jürgen@straße.example", "jürgen@straße.example"),
        ],
    )
    def test_is_kept_in_lower_case(self, typed: str, kept: str) -> None:
        assert normal_email(typed) == kept

    @pytest.mark.parametrize(
        "typed",
        ["", "mira", f"mira{AT}", f"{AT}mail.example", f"mira{AT}mail", "mira holm@mail.example", "a@b@mail.example", "mira@mail.example\n",
         "mira@mail.example, eve@mail.example", "<mira@mail.example>", "x" * 65 + "@mail.example", "mira@" + "x" * 260 + ".example"],
    )  # fmt: skip
    def test_refuses_what_cannot_be_one(self, typed: str) -> None:
        with pytest.raises(ValueError, match="not an e-mail address"):
            normal_email(typed)

    @given(st.text(max_size=60))
    def test_never_lets_a_line_break_or_a_second_recipient_through(self, text: str) -> None:
        try:
            kept = normal_email(text)
        except ValueError:
            return
        assert kept.count(AT) == 1
        assert not set(kept) & set("\r\n,;<> ")


class TestPhone:
    @pytest.mark.parametrize(
        ("typed", "kept"),
        [("+1 (202) 555-0123", "+12025550123"), ("+49.30/555 001-234", "+4930555001234"), ("+4930555001234", "+4930555001234")],
    )
    def test_is_kept_as_e164(self, typed: str, kept: str) -> None:
        assert normal_phone(typed) == kept

    @pytest.mark.parametrize("typed", ["", "2025550123", "+0205550123", "+1234", "+" + "1" * 16, "+1 202 CALL", "+1202555012\n3x"])
    def test_refuses_what_cannot_be_one(self, typed: str) -> None:
        with pytest.raises(ValueError, match="country code"):
            normal_phone(typed)

    @given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
    def test_does_not_change_a_second_time(self, number: str) -> None:
        assert normal_phone(normal_phone(number)) == normal_phone(number)


class TestBirthDate:
    @pytest.mark.parametrize(
        ("day", "possible"),
        [(TODAY, True), (date(1880, 1, 1), True), (date(1879, 12, 31), False), (date(2026, 11, 25), False), (date(1987, 4, 12), True)],
    )
    def test_lies_between_1880_and_today(self, day: date, possible: bool) -> None:
        assert possible_birth_date(day, TODAY) is possible


class TestChangedFields:
    def test_names_those_that_differ_in_the_order_given(self) -> None:
        before = {"phone": "1", "email": None, "given_name": "Mira"}
        assert changed_fields(before, {"given_name": "Mira", "email": "m", "phone": "2"}) == ["email", "phone"]

    def test_is_empty_when_nothing_differs(self) -> None:
        assert changed_fields({"email": None}, {"email": None}) == []
