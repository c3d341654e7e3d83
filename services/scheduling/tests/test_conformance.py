"""The actions of scheduling keep what every action keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
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
from libs.testing.simulators.calcom import CalcomSimulator
from services.scheduling.actions import BOOK_APPOINTMENT, CANCEL_APPOINTMENT, START_CALL
from services.scheduling.adapters.calcom_api import Calcom
from services.scheduling.adapters.retell import Retell
from services.scheduling.commands.appointments import AttendeeCommand, BookAppointment, book_appointment
from services.scheduling.commands.calcom_settings import ConfigureCalcom, configure_calcom
from services.scheduling.commands.notices import take_notice
from services.scheduling.commands.retell_settings import ConfigureRetell, configure_retell
from services.scheduling.queries import booked_as
from services.scheduling.rules.attendees import AttendeeDetails
from services.scheduling.rules.bookings import OutboundBooking
from services.scheduling.tests import calcom
from services.scheduling.tests.retell import SETTINGS, running

BOX = SecretBox.local(SECRETS_KEYS)
TOOLS = {"calendar": Calcom("http://127.0.0.1:1"), "box": BOX}
"""Of an appointment that stays in the house, which asks nobody outside."""
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
        return Scene(parameters, invalid, count, patient, TOOLS)


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
        return Scene(parameters, invalid, count, tools=TOOLS, before=frozenset({AppointmentBooked.type}))


@dataclass
class Account:
    """A practice's account at Cal.com's simulator, with a patient who has an e-mail address."""

    simulator: CalcomSimulator
    provider: Calcom
    patient: UUID

    @property
    def tools(self) -> dict[str, Any]:
        return {"calendar": self.provider, "box": BOX}

    def behave(self, how: Outside) -> None:
        self.simulator.faults.planned.clear()
        if how in _FAULTS:
            self.simulator.faults.plan({**_FAULTS[how], "times": 100})

    async def count(self, status: str) -> int:
        return [line["status"] for line in self.simulator.record.lines].count(status)


@pytest.fixture
async def account(work: Work, practice: UUID, patient: UUID, tmp_path: Path) -> AsyncIterator[Account]:
    async with work(Principal.system("test", practice)) as tx:
        await configure_calcom(ConfigureCalcom.model_validate(calcom.SETTINGS), BOX, tx)
        await tx.execute("UPDATE contact SET email = 'jonas@berg.example' WHERE practice_id = $1", practice)
    async with calcom.running(tmp_path) as (simulator, url):
        provider = Calcom(url)
        await provider.open()
        yield Account(simulator, provider, patient)
        await provider.close()


class TestBookAtCalcom(LeavingConformance):
    plugin = BOOK_APPOINTMENT
    seconds = 1.0

    @pytest.fixture
    def scene(self, account: Account) -> Scene:
        async def count() -> int:
            return await account.count("accepted")

        parameters = {"title": "Recall", "starts_at": NINE, "event_type_id": 7, "time_zone": "Europe/Berlin"}
        invalid = [{}, {**parameters, "resource": "Dr Kim"}, {**parameters, "event_type_id": "first"}, {**parameters, "starts_at": ""}]
        return Scene(parameters, invalid, count, account.patient, account.tools, account.behave)


class TestCancelAtCalcom(LeavingConformance):
    plugin = CANCEL_APPOINTMENT
    seconds = 1.0

    @pytest.fixture
    async def scene(self, account: Account, work: Work, practice: UUID) -> Scene:
        async def count() -> int:
            return await account.count("cancelled")

        booking = OutboundBooking(
            practice_id=practice, effect_key=uuid4(), api_key=calcom.KEY, event_type_id=7, starts_at=datetime.fromisoformat(NINE), minutes=None,
            attendee=AttendeeDetails("Jonas Berg", "jonas@berg.example"), time_zone="UTC", asked_at=datetime.now(UTC),
        )  # fmt: skip
        seen = (await account.provider.book(booking)).seen
        assert seen is not None
        async with work(Principal.system("test", practice)) as tx:
            await take_notice(replace(seen.notice, patient_id=account.patient), tx)
            booked = await booked_as(seen.notice.key, tx)
            assert booked is not None
        parameters = {"appointment_id": str(booked["id"]), "reason": CANARY}
        invalid = [{}, {"appointment_id": "the next one"}, {**parameters, "reason": "two\nlines"}]
        before = frozenset({AppointmentBooked.type})
        return Scene(parameters, invalid, count, account.patient, account.tools, account.behave, before)


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
