"""Small promises: troubles, ids, typed lines, signed positions."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from libs.common.clock import monotonic, utc_now
from libs.common.command import Command, Line, Text
from libs.common.errors import Conflict, NotFound, Refused, Trouble, Unavailable
from libs.common.ids import derived_id, new_id
from libs.common.paging import CursorInvalid, Cursors

KEY = "cd" * 32
LINE: TypeAdapter[str] = TypeAdapter(Line)
TEXT: TypeAdapter[str] = TypeAdapter(Text)


class OpeningHoursOverlap(Refused):
    """Two opening hours overlap.

    Only the first line is the message.
    """


class TestTrouble:
    def test_takes_its_code_from_its_name_and_its_message_from_its_docstring(self) -> None:
        error = OpeningHoursOverlap(pointer="/hours/1", first="a")
        assert (error.code, error.message, str(error)) == (
            "opening_hours_overlap",
            "Two opening hours overlap.",
            "Two opening hours overlap.",
        )
        assert (error.pointer, error.details, error.status) == ("/hours/1", {"first": "a"}, 422)

    @pytest.mark.parametrize(("kind", "status"), [(NotFound, 404), (Conflict, 409), (Refused, 422), (Unavailable, 503)])
    def test_every_kind_has_its_status(self, kind: type[Trouble], status: int) -> None:
        assert kind.status == status


class TestClock:
    def test_now_is_aware_utc(self) -> None:
        assert utc_now().tzinfo is UTC
        assert abs((utc_now() - datetime.now(UTC)).total_seconds()) < 5

    def test_durations_never_go_back(self) -> None:
        assert monotonic() <= monotonic()


class TestIds:
    def test_are_new_and_in_order(self) -> None:
        ids = [new_id() for _ in range(1000)]
        assert len(set(ids)) == 1000
        assert ids == sorted(ids)

    def test_derived_from_the_same_parts_are_the_same_for_ever(self) -> None:
        assert derived_id("run", 1, "x") == UUID("f4f484db-2412-5014-bf2d-591e5c027a54")
        assert derived_id("run", 1) != derived_id("run", 2)


class TestLine:
    @pytest.mark.parametrize("typed", ["", "x" * 201, "a\nb", "a\tb", "a\x00b", "\ud800"])
    def test_refuses_what_nobody_types_on_one_line(self, typed: str) -> None:
        with pytest.raises(ValidationError):
            LINE.validate_python(typed)

    @given(st.text(min_size=1, max_size=50))
    def test_keeps_one_spelling(self, typed: str) -> None:
        try:
            kept = LINE.validate_python(typed)
        except ValidationError:
            return
        assert kept == unicodedata.normalize("NFC", kept)

    def test_two_spellings_of_one_name_are_one(self) -> None:
        assert LINE.validate_python("Mu\u0308ller") == LINE.validate_python("M\u00fcller")


class TestText:
    def test_has_lines_with_one_kind_of_end(self) -> None:
        assert TEXT.validate_python("Dear Mira,\r\n\tcome\r\n") == "Dear Mira,\n\tcome\n"

    @pytest.mark.parametrize("typed", ["", "x" * 20_001, "a\x00b", "a\rb"])
    def test_refuses_control_characters(self, typed: str) -> None:
        with pytest.raises(ValidationError):
            TEXT.validate_python(typed)


class Make(Command):
    name: Line
    size: int = 1


class TestCommand:
    def test_is_frozen_and_takes_nothing_it_does_not_know(self) -> None:
        made = Make(name="  x ")
        assert made.name == "x"
        with pytest.raises(ValidationError):
            made.name = "y"  # type: ignore[misc]
        with pytest.raises(ValidationError):
            Make.model_validate({"name": "x", "colour": "red"})

    def test_does_not_repeat_its_input_in_an_error(self) -> None:
        with pytest.raises(ValidationError) as refused:
            Make.model_validate({"name": "x", "size": "secret"})
        assert "secret" not in str(refused.value)


class TestCursors:
    cursors = Cursors(KEY)

    @given(st.lists(st.text(max_size=20), min_size=1, max_size=3))
    def test_lead_back_to_their_position(self, position: list[str]) -> None:
        practice = uuid4()
        assert self.cursors.read(practice, "list", self.cursors.make(practice, "list", position)) == tuple(position)

    def test_are_good_for_one_practice_and_one_operation(self) -> None:
        practice = uuid4()
        cursor = self.cursors.make(practice, "list", ["a"])
        tries: list[tuple[Cursors, UUID | None, str]] = [
            (self.cursors, uuid4(), "list"), (self.cursors, None, "list"), (self.cursors, practice, "other"), (Cursors("ef" * 32), practice, "list")
        ]  # fmt: skip
        for cursors, who, operation in tries:
            with pytest.raises(CursorInvalid):
                cursors.read(who, operation, cursor)

    @given(st.text(max_size=60))
    def test_cannot_be_made_up(self, text: str) -> None:
        with pytest.raises(CursorInvalid):
            self.cursors.read(uuid4(), "list", text)

    def test_the_first_page_has_none(self) -> None:
        assert self.cursors.read(uuid4(), "list", None) is None

    @pytest.mark.parametrize(("fetched", "shown", "more"), [(0, 0, False), (2, 2, False), (3, 3, False), (4, 3, True)])
    def test_the_surplus_item_only_says_that_there_is_more(self, fetched: int, shown: int, more: bool) -> None:
        items: list[Any] = list(range(fetched))
        page = self.cursors.page(uuid4(), "list", items, 3, lambda number: (number,))
        assert (len(page.items), page.next_cursor is not None) == (shown, more)
