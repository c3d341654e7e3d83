"""The actions of patients keep what every action keeps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from libs.common.auth import Principal
from libs.common.work import Work
from libs.contracts.envelope import Message
from libs.contracts.patients import NoteAdded, PatientRegistered, PatientTagged, PatientUntagged, PatientUpdated
from libs.testing.action_conformance import CANARY, ActionConformance, Scene
from services.patients.actions import ADD_NOTE, ADD_TAG, REMOVE_TAG, UPDATE_PATIENT
from services.patients.commands.records import RegisterPatient, register_patient
from services.patients.commands.tags import AddTag, add_tag

Outbox = Callable[[UUID], Awaitable[list[Message]]]

BEFORE = frozenset({PatientRegistered.type})


@pytest.fixture
async def patient(work: Work, practice: UUID) -> UUID:
    async with work(Principal.system("test", practice)) as tx:
        return (await register_patient(RegisterPatient(given_name="Mira", family_name="Holm"), tx)).id


def seen(kind: type[Message], outbox: Outbox, practice: UUID) -> Callable[[], Awaitable[int]]:
    async def count() -> int:
        return sum(isinstance(message, kind) for message in await outbox(practice))

    return count


class TestUpdatePatient(ActionConformance):
    plugin = UPDATE_PATIENT

    @pytest.fixture
    def scene(self, patient: UUID, outbox: Outbox, practice: UUID) -> Scene:
        invalid: list[dict[str, Any]] = [{"email": "x"}, {"family_name": None}, {"diagnosis": "x"}]
        return Scene({"family_name": CANARY}, invalid, seen(PatientUpdated, outbox, practice), patient, before=BEFORE)


class TestAddTag(ActionConformance):
    plugin = ADD_TAG

    @pytest.fixture
    def scene(self, patient: UUID, outbox: Outbox, practice: UUID) -> Scene:
        return Scene({"tag": CANARY}, [{}, {"tag": ""}, {"tag": 5}], seen(PatientTagged, outbox, practice), patient, before=BEFORE)


class TestRemoveTag(ActionConformance):
    plugin = REMOVE_TAG

    @pytest.fixture
    async def scene(self, work: Work, patient: UUID, outbox: Outbox, practice: UUID) -> Scene:
        async with work(Principal.system("test", practice)) as tx:
            await add_tag(patient, AddTag(tag=CANARY), tx)
        return Scene(
            {"tag": CANARY}, [{}, {"tag": "x" * 51}], seen(PatientUntagged, outbox, practice), patient, before=BEFORE | {PatientTagged.type}
        )


class TestAddNote(ActionConformance):
    plugin = ADD_NOTE

    @pytest.fixture
    def scene(self, patient: UUID, outbox: Outbox, practice: UUID) -> Scene:
        return Scene({"text": CANARY}, [{}, {"text": ""}, {"text": "a\x00b"}], seen(NoteAdded, outbox, practice), patient, before=BEFORE)
