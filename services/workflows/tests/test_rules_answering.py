"""What actions answer when nobody performs them."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.simulation.answering import made_up, results_read
from services.workflows.tests.engine.world import definition, send


class Mood(StrEnum):
    GLAD = "glad"
    SORRY = "sorry"


class Part(BaseModel):
    at: datetime
    parts: list[Part] = Field(default_factory=list)


class Everything(BaseModel):
    id: UUID
    text: str
    many: int = Field(ge=3)
    part: float
    yes: bool
    day: date
    mood: Mood
    maybe: str | None
    inner: Part
    inners: list[Part]
    free: dict[str, Any]


class TestMadeUp:
    def test_a_result_fits_its_model(self) -> None:
        found = made_up(Everything.model_json_schema())
        assert Everything.model_validate(found).mood is Mood.GLAD
        assert found["maybe"] == "text"

    @pytest.mark.parametrize(
        "schema", [{}, {"type": "object"}, {"$ref": "#/$defs/None"}, {"$ref": "#"}, {"type": "string"}, {"type": ["object"]}]
    )
    def test_what_says_nothing_makes_nothing(self, schema: dict[str, Any]) -> None:
        assert made_up(schema) == {}


class TestWhoReadsThem:
    @pytest.mark.parametrize(
        ("text", "read"),
        [
            ("{{ steps.first.result.id }}", {"first"}),
            ("{{ steps['first'].result.id }}", {"first"}),
            ('{{ steps["first"]["result"].id }}', {"first"}),
            ("{{ steps.first.outcome }}", set()),
            ("{{ steps.other.result.id }}", set()),
            ("steps first result", set()),
        ],
    )
    def test_a_text(self, text: str, read: set[str]) -> None:
        assert results_read(Definition.model_validate(definition(send("first"), send("second", text=text)))) == read

    def test_a_condition_in_any_form(self) -> None:
        for when in ("steps.first.result.done", {"jsonlogic": {"==": [{"var": "steps.first.result.done"}, True]}}):
            written = definition(send("first"), {**send("second"), "when": when})
            assert results_read(Definition.model_validate(written)) == {"first"}
