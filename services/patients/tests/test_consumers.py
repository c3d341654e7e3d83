"""What patients hears: the timeline of each patient, once per event, and actions that workflows ask for, once per effect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.auth import Principal
from libs.common.service import Service
from libs.common.work import Work
from libs.contracts.actions import Outcome
from libs.contracts.envelope import Message
from libs.contracts.notifications import (
    EmailAccepted,
    EmailStatusChanged,
    MessageStatus,
    TaskCompleted,
    TaskCreated,
    TaskReopened,
    TaskUpdated,
)
from libs.contracts.patients import ActionFinished, PatientRecordViewed, PatientUpdated, PerformAction
from libs.contracts.scheduling import (
    AppointmentBooked,
    AppointmentCompleted,
    AppointmentMarkedNoShow,
    AppointmentReopened,
    AppointmentSource,
    AppointmentStatus,
    Attendee,
)
from libs.contracts.workflows import RunStarted
from libs.testing.fixtures import incoming

Outbox = Callable[[UUID], Awaitable[list[Message]]]
Headers = dict[str, str]
NINE = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


@pytest.fixture
async def patient(client: httpx.AsyncClient, as_user: Headers) -> UUID:
    body = {"given_name": "Mira", "family_name": "Holm", "email": "mira.holm@mail.example"}
    return UUID((await client.post("/v1/patients", json=body, headers=as_user)).json()["id"])


def booked(patient_id: UUID | None) -> AppointmentBooked:
    return AppointmentBooked(
        appointment_id=uuid4(), patient_id=patient_id, version=1, status=AppointmentStatus.BOOKED, source=AppointmentSource.CALCOM,
        resource="dr-kim", starts_at=NINE, ends_at=NINE + timedelta(minutes=30), time_zone="Europe/Berlin",
        attendee=Attendee(name="Mira Holm", email="mira.holm@mail.example"),
    )  # fmt: skip


def update(patient_id: UUID | None, **parameters: Any) -> PerformAction:
    return PerformAction(
        effect_key=uuid4(), action="update_patient", run_id=uuid4(), step_id="note", patient_id=patient_id, parameters=parameters
    )


async def timeline(client: httpx.AsyncClient, patient_id: UUID, headers: Headers, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/patients/{patient_id}/timeline", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


class TestTimeline:
    async def test_tells_what_every_service_said_newest_first(
        self, service: Service, client: httpx.AsyncClient, patient: UUID, practice: UUID, as_user: Headers
    ) -> None:
        message = uuid4()
        told: list[Message] = [
            booked(patient),
            RunStarted(
                run_id=uuid4(), workflow_id=uuid4(), workflow_name="Intake", version=1, trigger_event_id=uuid4(), patient_id=patient
            ),
            EmailAccepted(
                message_id=message,
                patient_id=patient,
                effect_key=uuid4(),
                provider="sendgrid",
                provider_message_id="x",
                email_subject="Hello",
            ),
            EmailStatusChanged(message_id=message, patient_id=patient, status=MessageStatus.DELIVERED, at=NINE),
        ]
        start = datetime.now(UTC)
        times = [(start + timedelta(seconds=number)).isoformat() for number in range(len(told))]
        await service.batches.handle([incoming(event, practice, ce_time=at) for event, at in zip(told, times, strict=True)])
        entries = await timeline(client, patient, as_user)
        assert [entry["kind"] for entry in entries] == ["email-status-changed", "email-accepted", "run-started", "appointment-booked"]
        assert entries[0]["details"]["status"] == "delivered"

    async def test_tells_whether_the_patient_came(
        self, service: Service, client: httpx.AsyncClient, patient: UUID, practice: UUID, as_user: Headers
    ) -> None:
        state = booked(patient).model_dump(exclude={"attendee", "double_booked", "version", "status"})
        told: list[Message] = [
            AppointmentMarkedNoShow(**state, version=2, status=AppointmentStatus.NO_SHOW),
            AppointmentReopened(**state, version=3, status=AppointmentStatus.BOOKED, previous_status=AppointmentStatus.NO_SHOW),
            AppointmentCompleted(**state, version=4, status=AppointmentStatus.COMPLETED),
        ]
        times = [(datetime.now(UTC) + timedelta(seconds=number)).isoformat() for number in range(len(told))]
        await service.batches.handle([incoming(event, practice, ce_time=at) for event, at in zip(told, times, strict=True)])
        entries = await timeline(client, patient, as_user)
        assert [entry["kind"] for entry in entries] == ["appointment-completed", "appointment-reopened", "appointment-marked-no-show"]
        assert [entry["details"]["status"] for entry in entries] == ["completed", "booked", "no_show"]

    async def test_tells_what_became_of_a_task_about_the_patient(
        self, service: Service, client: httpx.AsyncClient, patient: UUID, practice: UUID, as_user: Headers
    ) -> None:
        task = {"task_id": uuid4(), "patient_id": patient}
        told: list[Message] = [
            TaskCreated(**task, title="Call Mira Holm"),
            TaskUpdated(**task, title="Call Mira Holm today", changed=["title"]),
            TaskCompleted(**task),
            TaskReopened(**task),
        ]
        times = [(datetime.now(UTC) + timedelta(seconds=number)).isoformat() for number in range(len(told))]
        await service.batches.handle([incoming(event, practice, ce_time=at) for event, at in zip(told, times, strict=True)])
        entries = await timeline(client, patient, as_user)
        assert [entry["kind"] for entry in entries] == ["task-reopened", "task-completed", "task-updated", "task-created"]
        assert entries[2]["details"]["changed"] == ["title"]
        assert "Holm" not in str(entries)

    async def test_repeats_nothing_personal(
        self, service: Service, client: httpx.AsyncClient, patient: UUID, practice: UUID, as_user: Headers
    ) -> None:
        await service.batches.handle([incoming(booked(patient), practice)])
        (entry,) = await timeline(client, patient, as_user)
        assert "attendee" not in entry["details"]
        assert "mira.holm" not in str(entry)

    async def test_keeps_an_event_once_however_often_it_comes(
        self, service: Service, client: httpx.AsyncClient, patient: UUID, practice: UUID, as_user: Headers
    ) -> None:
        record = incoming(booked(patient), practice)
        await service.batches.handle([record, record])
        await service.batches.handle([record])
        assert len(await timeline(client, patient, as_user)) == 1

    async def test_leaves_out_what_names_no_patient(self, service: Service, practice: UUID, work: Work) -> None:
        await service.batches.handle([incoming(booked(None), practice)])
        async with work.batch([practice], Principal.system("test")) as tx:
            assert await tx.value("SELECT count(*) FROM timeline_entry WHERE practice_id = $1", practice) == 0

    async def test_shows_one_kind_when_asked_and_goes_on_in_pages(
        self, service: Service, client: httpx.AsyncClient, patient: UUID, practice: UUID, as_user: Headers
    ) -> None:
        run = RunStarted(run_id=uuid4(), workflow_id=uuid4(), workflow_name="x", version=1, trigger_event_id=uuid4(), patient_id=patient)
        await service.batches.handle([incoming(event, practice) for event in (booked(patient), booked(patient), run)])
        assert [entry["kind"] for entry in await timeline(client, patient, as_user, kind="run-started")] == ["run-started"]
        page = (await client.get(f"/v1/patients/{patient}/timeline", params={"limit": 2}, headers=as_user)).json()
        rest = await timeline(client, patient, as_user, limit=2, cursor=page["next_cursor"])
        assert len({entry["id"] for entry in [*page["items"], *rest]}) == 3

    async def test_leaves_a_trace_of_the_reading(
        self, client: httpx.AsyncClient, patient: UUID, practice: UUID, as_user: Headers, outbox: Outbox
    ) -> None:
        await timeline(client, patient, as_user)
        assert (await outbox(practice))[-1] == PatientRecordViewed(patient_id=patient, view="timeline")

    async def test_of_another_practice_is_not_found(
        self, service: Service, client: httpx.AsyncClient, patient: UUID, practice: UUID, as_stranger: Headers
    ) -> None:
        await service.batches.handle([incoming(booked(patient), practice)])
        assert (await client.get(f"/v1/patients/{patient}/timeline", headers=as_stranger)).status_code == 404


class TestUpdatePatientAction:
    async def test_changes_the_record_and_says_both(self, service: Service, patient: UUID, practice: UUID, outbox: Outbox) -> None:
        request = update(patient, phone="+49 30 555001234")
        await service.batches.handle([incoming(request, practice)])
        changed, finished = (await outbox(practice))[-2:]
        assert isinstance(changed, PatientUpdated)
        assert isinstance(finished, ActionFinished)
        assert (changed.changed, changed.details.phone) == (["phone"], "+4930555001234")
        assert (finished.effect_key, finished.outcome, finished.result) == (request.effect_key, Outcome.SUCCEEDED, {"version": 2})

    async def test_happens_once_for_one_effect_key(self, service: Service, patient: UUID, practice: UUID, outbox: Outbox) -> None:
        request = update(patient, given_name="Eva")
        await service.batches.handle([incoming(request, practice)])
        await service.batches.handle([incoming(request, practice)])
        assert [type(message) for message in (await outbox(practice))[1:]] == [PatientUpdated, ActionFinished]

    @pytest.mark.parametrize(
        ("parameters", "code"),
        [
            ({"phone": "030"}, "parameters_invalid"),
            ({"family_name": None}, "parameters_invalid"),
            ({"diagnosis": "x"}, "parameters_invalid"),
            ({"birth_date": "1850-01-01"}, "birth_date_impossible"),
        ],
    )
    async def test_says_why_it_failed_and_changes_nothing(
        self, parameters: dict[str, Any], code: str, service: Service, patient: UUID, practice: UUID, outbox: Outbox
    ) -> None:
        await service.batches.handle([incoming(update(patient, **parameters), practice)])
        finished = (await outbox(practice))[-1]
        assert isinstance(finished, ActionFinished)
        assert (finished.outcome, finished.error and finished.error.code) == (Outcome.FAILED, code)
        assert not any(isinstance(message, PatientUpdated) for message in await outbox(practice))

    @pytest.mark.parametrize("whose", ["nobody", "none"])
    async def test_fails_for_a_patient_who_is_not_there(self, whose: str, service: Service, practice: UUID, outbox: Outbox) -> None:
        await service.batches.handle([incoming(update(uuid4() if whose == "nobody" else None, given_name="Eva"), practice)])
        (finished,) = await outbox(practice)
        assert isinstance(finished, ActionFinished)
        assert (finished.outcome, finished.error and finished.error.code) == (Outcome.FAILED, "patient_not_found")

    async def test_fails_for_an_action_nobody_offers(self, service: Service, patient: UUID, practice: UUID, outbox: Outbox) -> None:
        request = PerformAction(effect_key=uuid4(), action="delete_patient", run_id=uuid4(), step_id="x", patient_id=patient)
        await service.batches.handle([incoming(request, practice)])
        finished = (await outbox(practice))[-1]
        assert isinstance(finished, ActionFinished)
        assert (finished.outcome, finished.error and finished.error.code) == (Outcome.FAILED, "action_unknown")

    async def test_never_reaches_a_patient_of_another_practice(self, service: Service, patient: UUID, outbox: Outbox) -> None:
        stranger = uuid4()
        await service.batches.handle([incoming(update(patient, given_name="Eve"), stranger)])
        (finished,) = await outbox(stranger)
        assert isinstance(finished, ActionFinished)
        assert finished.error is not None
        assert finished.error.code == "patient_not_found"


class TestCatalogue:
    async def test_offers_what_the_entry_points_declare(self, service: Service) -> None:
        assert [plugin.name for plugin in service._plugins] == ["add_note", "add_tag", "remove_tag", "update_patient"]
        assert {plugin.owner for plugin in service._plugins} == {"patients"}
        assert "phone" in service._plugins[-1].description().parameters_schema["properties"]
