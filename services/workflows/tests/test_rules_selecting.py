"""Filters over patients: what blocks find here is what they find wherever patients are kept."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import uuid4

import pytest

from libs.contracts.conditions import PATIENT_FIELDS, Blocks
from libs.testing.patient_filters import CASES, PEOPLE
from services.workflows.rules.conditions.selecting import SHAPES, NoFilter, patient_filter
from services.workflows.rules.expressions.engines import ENGINES
from services.workflows.rules.expressions.interface import FieldType

PATIENTS = [{"id": uuid4(), **asdict(person)} for person in PEOPLE]


@pytest.mark.parametrize("engine", ENGINES)
class TestBlocks:
    @pytest.mark.parametrize(("written", "expected"), CASES, ids=[str(number) for number in range(len(CASES))])
    def test_find_whom_the_table_says(self, engine: str, written: dict[str, Any], expected: frozenset[str]) -> None:
        wanted = patient_filter(Blocks.model_validate(written), ENGINES[engine])
        verdicts = {patient["given_name"]: wanted.verdict(patient) for patient in PATIENTS}
        assert [verdict.error for verdict in verdicts.values() if verdict.error] == []
        assert {name for name, verdict in verdicts.items() if verdict.is_true} == expected


class TestFields:
    def test_are_those_the_contracts_name(self) -> None:
        kinds = {FieldType.STRING: "text", FieldType.TEXTS: "texts"}
        assert {name: "day" if shape.day else kinds[shape.kind] for name, shape in SHAPES.items()} == PATIENT_FIELDS


class TestDay:
    @pytest.mark.parametrize(("value", "pointer"), [("1987", "value"), ("1987-02-30", "value"), ("19870412", "value"), (None, "value")])
    def test_that_is_none_is_pointed_at(self, value: Any, pointer: str) -> None:
        block = {"field": "patient.birth_date", "operator": "before", "value": value}
        with pytest.raises(NoFilter) as refused:
            patient_filter(Blocks.model_validate({"blocks": {"all": [block]}}), ENGINES["cel-cpp"])
        assert refused.value.pointer == f"/blocks/all/0/{pointer}"
