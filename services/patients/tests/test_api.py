"""Patients over HTTP: registered, read with a trace, listed page by page, changed by whoever saw the newest version."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.contracts.envelope import Message
from libs.contracts.patients import PatientDetails, PatientRecordViewed, PatientRegistered, PatientsListed, PatientUpdated

Outbox = Callable[[UUID], Awaitable[list[Message]]]
Headers = dict[str, str]
MIRA = {
    "given_name": "Mira",
    "family_name": "Holm",
    "email": "Mira.Holm@mail.example",
    "phone": "+49 30 555001234",
    "birth_date": "1987-04-12",
}


@pytest.fixture
async def mira(client: httpx.AsyncClient, as_user: Headers) -> dict[str, Any]:
    answer = await client.post("/v1/patients", json=MIRA, headers=as_user)
    assert answer.status_code == 201, answer.text
    view: dict[str, Any] = answer.json()
    return view


def pointers(answer: httpx.Response) -> list[str]:
    return [error["pointer"] for error in answer.json()["errors"]]


class TestRegister:
    async def test_answers_with_the_record_in_one_spelling(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        answer = await client.post("/v1/patients", json={**MIRA, "given_name": "  Mira "}, headers=as_user)
        view = answer.json()
        assert (answer.status_code, answer.headers["etag"], answer.headers["location"]) == (201, '"1"', f"/v1/patients/{view['id']}")
        assert (view["given_name"], view["email"], view["phone"]) == ("Mira", "mira.holm@mail.example", "+4930555001234")

    async def test_says_it(self, mira: dict[str, Any], practice: UUID, outbox: Outbox) -> None:
        details = PatientDetails.model_validate({name: mira[name] for name in PatientDetails.model_fields})
        assert await outbox(practice) == [PatientRegistered(patient_id=UUID(mira["id"]), version=1, details=details)]

    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            ({"email": "mira"}, "/email"),
            ({"phone": "030 555"}, "/phone"),
            ({"birth_date": "1850-01-01"}, "/birth_date"),
            ({"time_zone": "Middle/Earth"}, "/time_zone"),
            ({"birth_date": "2100-01-01"}, "/birth_date"),
            ({"birth_date": "12.04.1987"}, "/birth_date"),
            ({"given_name": ""}, "/given_name"),
            ({"given_name": "Mi\x01ra"}, "/given_name"),
            ({"family_name": "x" * 201}, "/family_name"),
            ({"family_name": None}, "/family_name"),
            ({"insurance": "none"}, "/insurance"),
        ],
    )
    async def test_points_at_what_is_wrong_and_keeps_nothing(
        self, fields: dict[str, Any], pointer: str, client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        answer = await client.post("/v1/patients", json={**MIRA, **fields}, headers=as_user)
        assert (answer.status_code, pointers(answer)) == (422, [pointer])
        assert await outbox(practice) == []

    async def test_repeats_nothing_of_the_input_in_an_error(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        answer = await client.post("/v1/patients", json={**MIRA, "email": "secret-diagnosis", "birth_date": "1850-01-01"}, headers=as_user)
        assert answer.status_code == 422
        assert "secret-diagnosis" not in answer.text

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe"])
    async def test_refuses_what_is_no_json_object(self, body: bytes, client: httpx.AsyncClient, as_user: Headers) -> None:
        answer = await client.post("/v1/patients", content=body, headers={**as_user, "content-type": "application/json"})
        assert answer.status_code in {400, 422}
        assert answer.headers["content-type"] == "application/problem+json"

    async def test_with_a_key_registers_once_however_often_it_is_asked(
        self, client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        keyed = {**as_user, "Idempotency-Key": str(uuid4())}
        first = await client.post("/v1/patients", json=MIRA, headers=keyed)
        again = await client.post("/v1/patients", json=MIRA, headers=keyed)
        other = await client.post("/v1/patients", json={**MIRA, "given_name": "Eva"}, headers=keyed)
        assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (201, first.json(), "true")
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        assert len(await outbox(practice)) == 1

    async def test_with_a_key_registers_once_for_many_at_the_same_time(
        self, client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        keyed = {**as_user, "Idempotency-Key": str(uuid4())}
        answers = await asyncio.gather(*(client.post("/v1/patients", json=MIRA, headers=keyed) for _ in range(5)))
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert len(await outbox(practice)) == 1


class TestShow:
    async def test_answers_and_leaves_a_trace_of_the_reading(
        self, mira: dict[str, Any], client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        answer = await client.get(f"/v1/patients/{mira['id']}", headers=as_user)
        assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, mira, '"1"')
        assert (await outbox(practice))[-1] == PatientRecordViewed(patient_id=UUID(mira["id"]), view="record")

    async def test_says_not_found_for_nobody_and_for_a_strangers_patient_alike(
        self, mira: dict[str, Any], client: httpx.AsyncClient, as_user: Headers, as_stranger: Headers
    ) -> None:
        nobody = await client.get(f"/v1/patients/{uuid4()}", headers=as_user)
        strangers = await client.get(f"/v1/patients/{mira['id']}", headers=as_stranger)
        assert (nobody.status_code, nobody.json()["code"]) == (404, "patient_not_found")
        assert (strangers.status_code, strangers.json()["code"]) == (404, "patient_not_found")

    async def test_refuses_what_is_no_id(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        assert (await client.get("/v1/patients/17", headers=as_user)).status_code == 422

    async def test_is_not_for_vantage_admins(self, mira: dict[str, Any], client: httpx.AsyncClient, as_vantage_admin: Headers) -> None:
        assert (await client.get(f"/v1/patients/{mira['id']}", headers=as_vantage_admin)).status_code == 403


class TestUpdate:
    async def test_changes_what_is_given_and_says_what_changed(
        self, mira: dict[str, Any], client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        answer = await client.patch(f"/v1/patients/{mira['id']}", json={"phone": None, "given_name": "Mirabel"}, headers=as_user)
        view = answer.json()
        assert (answer.status_code, answer.headers["etag"], view["phone"], view["email"]) == (200, '"2"', None, mira["email"])
        said = (await outbox(practice))[-1]
        assert isinstance(said, PatientUpdated)
        assert (said.version, sorted(said.changed), said.details.given_name) == (2, ["given_name", "phone"], "Mirabel")

    async def test_says_nothing_when_nothing_changes(
        self, mira: dict[str, Any], client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        answer = await client.patch(f"/v1/patients/{mira['id']}", json={"email": "MIRA.holm@mail.example"}, headers=as_user)
        assert (answer.status_code, answer.json()["version"]) == (200, 1)
        assert len(await outbox(practice)) == 1

    async def test_refuses_to_empty_a_name(self, mira: dict[str, Any], client: httpx.AsyncClient, as_user: Headers) -> None:
        assert (await client.patch(f"/v1/patients/{mira['id']}", json={"family_name": None}, headers=as_user)).status_code == 422

    async def test_refuses_an_older_version(self, mira: dict[str, Any], client: httpx.AsyncClient, as_user: Headers) -> None:
        path = f"/v1/patients/{mira['id']}"
        first = await client.patch(path, json={"given_name": "Eva"}, headers={**as_user, "If-Match": '"1"'})
        second = await client.patch(path, json={"given_name": "Ada"}, headers={**as_user, "If-Match": '"1"'})
        broken = await client.patch(path, json={"given_name": "Ada"}, headers={**as_user, "If-Match": "yesterday"})
        assert (first.status_code, second.status_code, broken.status_code) == (200, 412, 422)

    async def test_loses_no_change_when_two_come_at_once(self, mira: dict[str, Any], client: httpx.AsyncClient, as_user: Headers) -> None:
        path = f"/v1/patients/{mira['id']}"
        changes: list[dict[str, str]] = [{"given_name": "Eva"}, {"family_name": "Lund"}, {"email": "eva@mail.example"}]
        await asyncio.gather(*(client.patch(path, json=change, headers=as_user) for change in changes))
        view = (await client.get(path, headers=as_user)).json()
        assert (view["version"], view["given_name"], view["family_name"], view["email"]) == (4, "Eva", "Lund", "eva@mail.example")

    async def test_finds_nobody_of_another_practice(self, mira: dict[str, Any], client: httpx.AsyncClient, as_stranger: Headers) -> None:
        answer = await client.patch(f"/v1/patients/{mira['id']}", json={"given_name": "Eve"}, headers=as_stranger)
        assert answer.status_code == 404


class TestList:
    async def test_goes_through_all_by_name_in_pages_and_says_who_was_shown(
        self, client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        for family, given in (("Lund", "Ada"), ("Holm", "Mira"), ("Holm", "Eva"), ("Åberg", "Jo"), ("Berg", "Jo")):
            await client.post("/v1/patients", json={"family_name": family, "given_name": given}, headers=as_user)
        seen: list[str] = []
        cursor: str | None = None
        while True:
            query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
            page = (await client.get("/v1/patients", params=query, headers=as_user)).json()
            seen += [f"{item['family_name']} {item['given_name']}" for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == ["Berg Jo", "Holm Eva", "Holm Mira", "Lund Ada", "Åberg Jo"]
        listed = [message for message in await outbox(practice) if isinstance(message, PatientsListed)]
        assert [len(message.patient_ids) for message in listed] == [2, 2, 1]

    async def test_is_empty_for_a_new_practice_and_says_nothing(
        self, client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        page = (await client.get("/v1/patients", headers=as_user)).json()
        assert (page["items"], page["next_cursor"], await outbox(practice)) == ([], None, [])

    async def test_refuses_a_cursor_of_another_practice_and_one_that_is_made_up(
        self, mira: dict[str, Any], client: httpx.AsyncClient, as_user: Headers, as_stranger: Headers
    ) -> None:
        await client.post("/v1/patients", json={"family_name": "Lund", "given_name": "Ada"}, headers=as_user)
        cursor = (await client.get("/v1/patients", params={"limit": 1}, headers=as_user)).json()["next_cursor"]
        for headers, tried in ((as_stranger, cursor), (as_user, "made-up"), (as_user, cursor[:-2])):
            answer = await client.get("/v1/patients", params={"cursor": tried}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")

    @pytest.mark.parametrize("limit", ["0", "101", "many"])
    async def test_refuses_an_impossible_limit(self, limit: str, client: httpx.AsyncClient, as_user: Headers) -> None:
        assert (await client.get("/v1/patients", params={"limit": limit}, headers=as_user)).status_code == 422
