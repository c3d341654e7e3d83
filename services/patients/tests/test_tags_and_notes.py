"""Tags and notes: given and taken by people and by workflows, said once, and read with a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.service import Service
from libs.contracts.actions import Outcome
from libs.contracts.envelope import Message
from libs.contracts.patients import (
    ActionFinished,
    NoteAdded,
    NoteRemoved,
    PatientRecordViewed,
    PatientTagged,
    PatientUntagged,
    PerformAction,
)
from libs.testing.fixtures import incoming
from services.patients.rules.details import TAGS_OF_A_PATIENT, tag_key

Outbox = Callable[[UUID], Awaitable[list[Message]]]
Headers = dict[str, str]


@pytest.fixture
async def patient(client: httpx.AsyncClient, as_user: Headers) -> UUID:
    body = {"given_name": "Mira", "family_name": "Holm"}
    return UUID((await client.post("/v1/patients", json=body, headers=as_user)).json()["id"])


@pytest.fixture
def tags(patient: UUID) -> str:
    return f"/v1/patients/{patient}/tags"


@pytest.fixture
def notes(patient: UUID) -> str:
    return f"/v1/patients/{patient}/notes"


def asked(action: str, patient: UUID | None, **parameters: Any) -> PerformAction:
    return PerformAction(effect_key=uuid4(), action=action, run_id=uuid4(), step_id="x", patient_id=patient, parameters=parameters)


async def said(outbox: Outbox, practice: UUID, *kinds: type[Message]) -> list[Message]:
    return [message for message in await outbox(practice) if isinstance(message, kinds)]


class TestTag:
    async def test_is_given_once_however_it_is_written(
        self, client: httpx.AsyncClient, tags: str, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        first = await client.post(tags, json={"tag": " Recall   2027 "}, headers=as_user)
        again = await client.post(tags, json={"tag": "recall 2027"}, headers=as_user)
        assert (first.status_code, first.json()["name"], again.json()) == (200, "Recall 2027", first.json())
        assert len(await said(outbox, practice, PatientTagged)) == 1

    async def test_is_taken_and_then_not_there(
        self, client: httpx.AsyncClient, tags: str, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        tag = (await client.post(tags, json={"tag": "Recall"}, headers=as_user)).json()["id"]
        answers = [(await client.delete(f"{tags}/{tag}", headers=as_user)).status_code for _ in range(2)]
        assert (answers, (await client.get(tags, headers=as_user)).json()) == ([204, 404], [])
        assert [type(m) for m in await said(outbox, practice, PatientTagged, PatientUntagged)] == [PatientTagged, PatientUntagged]

    async def test_is_counted_in_the_practice(self, client: httpx.AsyncClient, tags: str, as_user: Headers) -> None:
        for name in ("Recall", "Private", "Child"):
            await client.post(tags, json={"tag": name}, headers=as_user)
        page = (await client.get("/v1/tags", params={"limit": 2}, headers=as_user)).json()
        rest = (await client.get("/v1/tags", params={"limit": 2, "cursor": page["next_cursor"]}, headers=as_user)).json()
        assert [(t["name"], t["patients"]) for t in page["items"] + rest["items"]] == [("Child", 1), ("Private", 1), ("Recall", 1)]

    @pytest.mark.parametrize("tag", ["", "   ", "x" * 51, "two\nlines", 5, None])
    async def test_that_cannot_be_one_is_pointed_at(self, tag: object, client: httpx.AsyncClient, tags: str, as_user: Headers) -> None:
        answer = await client.post(tags, json={"tag": tag}, headers=as_user)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/tag")

    async def test_too_many_are_refused_and_leave_nothing(
        self, client: httpx.AsyncClient, tags: str, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        names = [f"tag {number}" for number in range(TAGS_OF_A_PATIENT + 5)]
        answers = await asyncio.gather(*(client.post(tags, json={"tag": name}, headers=as_user) for name in names))
        assert sorted(answer.status_code for answer in answers) == [200] * TAGS_OF_A_PATIENT + [422] * 5
        assert len((await client.get(tags, headers=as_user)).json()) == TAGS_OF_A_PATIENT
        assert len(await said(outbox, practice, PatientTagged)) == TAGS_OF_A_PATIENT

    async def test_of_another_practices_patient_is_not_found(self, client: httpx.AsyncClient, tags: str, as_stranger: Headers) -> None:
        answers = [await client.get(tags, headers=as_stranger), await client.post(tags, json={"tag": "x"}, headers=as_stranger)]
        assert [answer.status_code for answer in answers] == [404, 404]

    def test_keys_are_the_same_for_what_people_take_for_the_same(self) -> None:
        assert len({tag_key(name) for name in ("VIP", "vip", " Vip ", "ＶＩＰ")}) == 1


class TestNote:
    async def test_is_shown_newest_first_with_a_trace_of_the_reading(
        self, client: httpx.AsyncClient, notes: str, patient: UUID, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        for text in ("one", "two", "three"):
            assert (await client.post(notes, json={"text": text}, headers=as_user)).status_code == 201
        page = (await client.get(notes, params={"limit": 2}, headers=as_user)).json()
        rest = (await client.get(notes, params={"limit": 2, "cursor": page["next_cursor"]}, headers=as_user)).json()
        assert [note["text"] for note in page["items"] + rest["items"]] == ["three", "two", "one"]
        assert (await outbox(practice))[-1] == PatientRecordViewed(patient_id=patient, view="notes")

    async def test_never_travels_with_its_text(
        self, client: httpx.AsyncClient, notes: str, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        await client.post(notes, json={"text": "the diagnosis"}, headers=as_user)
        assert len(await said(outbox, practice, NoteAdded)) == 1
        assert "the diagnosis" not in str(await outbox(practice))

    async def test_written_by_mistake_is_taken_back_once(
        self, client: httpx.AsyncClient, notes: str, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        note = (await client.post(notes, json={"text": "of somebody else"}, headers=as_user)).json()["id"]
        answers = [(await client.delete(f"{notes}/{note}", headers=as_user)).status_code for _ in range(2)]
        assert (answers, (await client.get(notes, headers=as_user)).json()["items"]) == ([204, 404], [])
        assert len(await said(outbox, practice, NoteRemoved)) == 1

    async def test_is_written_once_for_one_idempotency_key(self, client: httpx.AsyncClient, notes: str, as_user: Headers) -> None:
        headers = {**as_user, "Idempotency-Key": str(uuid4())}
        answers = [(await client.post(notes, json={"text": "once"}, headers=headers)).json()["id"] for _ in range(2)]
        assert (len(set(answers)), len((await client.get(notes, headers=as_user)).json()["items"])) == (1, 1)


class TestActions:
    async def test_tag_and_note_and_say_what_became_of_it(
        self,
        service: Service,
        client: httpx.AsyncClient,
        patient: UUID,
        tags: str,
        notes: str,
        practice: UUID,
        as_user: Headers,
        outbox: Outbox,
    ) -> None:
        requests = [
            asked("add_tag", patient, tag="Recall"), asked("add_tag", patient, tag="recall"), asked("add_note", patient, text="Was called."),
            asked("remove_tag", patient, tag="RECALL"), asked("remove_tag", patient, tag="Never had"),
        ]  # fmt: skip
        await service.batches.handle([incoming(request, practice) for request in [*requests, *requests]])
        finished = [message for message in await outbox(practice) if isinstance(message, ActionFinished)]
        assert [f.effect_key for f in finished] == [request.effect_key for request in requests]
        assert [f.result.get("added", f.result.get("removed")) for f in finished] == [True, False, None, True, False]
        (note,) = (await client.get(notes, headers=as_user)).json()["items"]
        assert (note["text"], note["added_by"]) == ("Was called.", f"run:{requests[2].run_id}")
        assert (await client.get(tags, headers=as_user)).json() == []

    async def test_that_are_refused_leave_nothing_behind(
        self, service: Service, client: httpx.AsyncClient, patient: UUID, tags: str, practice: UUID, as_user: Headers, outbox: Outbox
    ) -> None:
        requests = [asked("add_tag", patient, tag=f"tag {number}") for number in range(TAGS_OF_A_PATIENT + 1)]
        await service.batches.handle([incoming(request, practice) for request in requests])
        finished = [message for message in await outbox(practice) if isinstance(message, ActionFinished)]
        assert [f.outcome for f in finished] == [Outcome.SUCCEEDED] * TAGS_OF_A_PATIENT + [Outcome.FAILED]
        assert finished[-1].error is not None
        assert (finished[-1].error.code, finished[-1].error.retryable) == ("too_many_tags", False)
        assert len(await said(outbox, practice, PatientTagged)) == TAGS_OF_A_PATIENT
        assert len((await client.get("/v1/tags", params={"limit": 100}, headers=as_user)).json()["items"]) == TAGS_OF_A_PATIENT

    @pytest.mark.parametrize("action", ["add_tag", "remove_tag", "add_note"])
    async def test_need_a_patient_of_the_practice(self, action: str, service: Service, practice: UUID, outbox: Outbox) -> None:
        parameters = {"text": "x"} if action == "add_note" else {"tag": "x"}
        await service.batches.handle([incoming(asked(action, who, **parameters), practice) for who in (uuid4(), None)])
        finished = [message for message in await outbox(practice) if isinstance(message, ActionFinished)]
        assert [f.error.code for f in finished if f.error] == ["patient_not_found"] * 2

    async def test_stand_in_the_timeline_without_words(
        self, service: Service, client: httpx.AsyncClient, patient: UUID, practice: UUID, as_user: Headers
    ) -> None:
        tag = uuid4()
        told = [PatientTagged(patient_id=patient, tag_id=tag, tag="Recall"), NoteAdded(patient_id=patient, note_id=uuid4())]
        await service.batches.handle([incoming(event, practice) for event in told])
        entries = (await client.get(f"/v1/patients/{patient}/timeline", headers=as_user)).json()["items"]
        assert {entry["kind"] for entry in entries} == {"patient-tagged", "note-added"}
        assert {entry["details"].get("tag_id") for entry in entries} == {str(tag), None}
        assert "Recall" not in str(entries)
