"""The actions of scheduling keep what every action keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.auth import Principal
from libs.common.secrets import SecretBox
from libs.common.work import Work
from libs.contracts.scheduling import AppointmentBooked
from libs.testing.action_conformance import CANARY, ActionConformance, LeavingConformance, Outside, Scene
from libs.testing.fixtures import SECRETS_KEYS
from services.scheduling.actions import BOOK_APPOINTMENT, CANCEL_APPOINTMENT, START_CALL
from services.scheduling.adapters.retell import Retell
from services.scheduling.commands.appointments import AttendeeCommand, BookAppointment, book_appointment
from services.scheduling.commands.retell_settings import ConfigureRetell, configure_retell
from services.scheduling.tests.retell import SETTINGS, running

BOX = SecretBox.local(SECRETS_KEYS)
NINE, TEN = "2030-01-07T09:00:00Z", "2030-01-07T10:00:00Z"
_CONTACT = "INSERT INTO contact (practice_id, patient_id, version, name, phone) VALUES ($1, $2, 1, 'jonas berg', '+491701234567')"
_COUNT = "SELECT count(*) FROM appointment WHERE practice_id = $1 AND status = $2"
_FAULTS: dict[Outside, dict[str, Any]] = {
    Outside.REFUSES: {"kind": "status", "status": 402}, Outside.NOT_NOW: {"kind": "status", "status": 429},
    Outside.TAKES_AND_SAYS_NOTHING: {"kind": "mute"}, Outside.TAKES_AND_HANGS_UP: {"kind": "lose"},
}  # fmt: skip


@pytest.fixture
async def patient(work: Work, practice: UUID) -> UUID:
    found = uuid4()
    async with work(Principal.system("test", practice)) as tx:
        await tx.execute(_CONTACT, practice, found)
    return found


async def appointments(work: Work, practice: UUID, status: str) -> int:
    async with work(Principal.system("test", practice)) as tx:
        return int(await tx.value(_COUNT, practice, status))


class TestBookAppointment(ActionConformance):
    plugin = BOOK_APPOINTMENT

    @pytest.fixture
    def scene(self, work: Work, practice: UUID, patient: UUID) -> Scene:
        async def count() -> int:
            return await appointments(work, practice, "booked")

        # Resource and title are what an appointment is called in every event about it, so no canary is in them.
        parameters = {"resource": "Dr Kim", "title": "Recall", "starts_at": NINE, "duration_minutes": 30, "time_zone": "Europe/Berlin"}
        invalid = [{}, {**parameters, "duration_minutes": 1}, {**parameters, "resource": "calcom/host/5"}, {**parameters, "starts_at": 9}]
        return Scene(parameters, invalid, count, patient)


class TestCancelAppointment(ActionConformance):
    plugin = CANCEL_APPOINTMENT

    @pytest.fixture
    async def scene(self, work: Work, practice: UUID) -> Scene:
        async def count() -> int:
            return await appointments(work, practice, "cancelled")

        wanted = BookAppointment.model_validate(
            {"starts_at": NINE, "ends_at": TEN, "resource": "Dr Kim", "title": "Recall", "attendee": AttendeeCommand(name="Jonas Berg")}
        )
        async with work(Principal.system("test", practice)) as tx:
            booked = await book_appointment(wanted, tx)
        parameters = {"appointment_id": str(booked.id), "reason": CANARY}
        invalid = [{}, {"appointment_id": "the next one"}, {**parameters, "reason": "two\nlines"}]
        return Scene(parameters, invalid, count, before=frozenset({AppointmentBooked.type}))


class TestStartCall(LeavingConformance):
    plugin = START_CALL
    seconds = 1.0

    @pytest.fixture
    async def scene(self, work: Work, practice: UUID, patient: UUID, tmp_path: Path) -> AsyncIterator[Scene]:
        async with work(Principal.system("test", practice)) as tx:
            await configure_retell(ConfigureRetell(**SETTINGS), BOX, tx)
        async with running(tmp_path) as (simulator, url):

            async def count() -> int:
                return len(simulator.record.lines)

            def behave(how: Outside) -> None:
                simulator.faults.planned.clear()
                if how in _FAULTS:
                    simulator.faults.plan({**_FAULTS[how], "times": 100})

            retell = Retell(url)
            await retell.open()
            parameters = {"agent_id": "agent_of_the_step", "variables": {"note": CANARY}}
            invalid: list[dict[str, Any]] = [
                {"agent_id": ""},
                {"variables": {"age": 7}},
                {"variables": {"a b": "c"}},
                {"to_number": "+491701234567"},
            ]
            yield Scene(parameters, invalid, count, patient, {"dialler": retell, "box": BOX}, behave)
            await retell.close()
