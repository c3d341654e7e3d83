"""Practices over HTTP: made and suspended by Vantage admins, run by their own, entered only with a reason."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.contracts.access import EntryChanged, PracticeAccessChanged
from libs.contracts.practices import PracticeChanged, PracticeCreated, PracticeReactivated, PracticeSuspended, UserInvited
from libs.testing.fixtures import Headers, Outbox
from services.practices.tests.conftest import ADA, JONAS, LINDENHOF, Accept

PROFILE = {
    "address": {"street": "Am Lindenhof 3", "postal_code": "10969", "city": "Berlin", "country": "DE"},
    "phone": "+49 30 1234567",
    "opening_hours": [
        {"day": "monday", "opens": "08:00:00", "closes": "12:00:00"},
        {"day": "monday", "opens": "13:00:00", "closes": "17:30:00"},
    ],
    "holidays": [{"first": "2026-12-24", "last": "2027-01-02", "name": "Christmas"}],
    "branding": {"colour": "#204060", "logo_url": "https://www.lindenhof.example/logo.png"},
}


class TestCreate:
    async def test_makes_the_practice_and_invites_its_first_users_together(
        self, client: httpx.AsyncClient, as_vantage_admin: Headers, outbox: Outbox
    ) -> None:
        made = (await client.post("/v1/practices", json={**LINDENHOF, "users": [ADA, JONAS]}, headers=as_vantage_admin)).json()
        practice = UUID(made["id"])
        assert [(one["email"], one["role"], one["state"]) for one in made["invitations"]] == [
            ("ada.lund@lindenhof.example", "practice_admin", "open"),
            ("jonas.falk@lindenhof.example", "regular_user", "open"),
        ]
        assert [type(message) for message in await outbox(practice)] == [PracticeCreated, PracticeAccessChanged, UserInvited, UserInvited]

    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            ({"time_zone": "Mars/Base"}, "/time_zone"),
            ({"name": ""}, "/name"),
            ({"users": []}, "/users"),
            ({"users": [JONAS]}, "/"),
            ({"users": [ADA, ADA]}, "/"),
            ({"users": [{**ADA, "email": "ada"}]}, "/users/0/email"),
            ({"users": [{**ADA, "role": "vantage_admin"}]}, "/users/0/role"),
            ({"id": str(uuid4())}, "/id"),
            ({"plan": "free"}, "/plan"),
        ],
    )
    async def test_points_at_what_is_wrong(
        self, fields: dict[str, Any], pointer: str, client: httpx.AsyncClient, as_vantage_admin: Headers
    ) -> None:
        answer = await client.post("/v1/practices", json={**LINDENHOF, **fields}, headers=as_vantage_admin)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)

    async def test_is_for_vantage_admins(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        assert (await client.post("/v1/practices", json=LINDENHOF, headers=as_admin)).status_code == 403


class TestList:
    async def test_shows_names_and_states_and_nothing_of_people(
        self, client: httpx.AsyncClient, as_vantage_admin: Headers, lindenhof: dict[str, Any]
    ) -> None:
        found: list[dict[str, Any]] = []
        query: dict[str, str] = {"limit": "100"}
        while True:
            page = (await client.get("/v1/practices", params=query, headers=as_vantage_admin)).json()
            found += page["items"]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        (entry,) = [entry for entry in found if entry["id"] == lindenhof["id"]]
        assert set(entry) == {"id", "name", "suspended", "created_at"}


class TestChange:
    async def test_renames_and_keeps_a_profile(self, client: httpx.AsyncClient, as_admin: Headers, practice: UUID, outbox: Outbox) -> None:
        path = f"/v1/practices/{practice}"
        changed = await client.patch(path, json={"name": "Lindenhof am See", "profile": PROFILE}, headers={**as_admin, "If-Match": '"1"'})
        assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
        shown = (await client.get(path, headers=as_admin)).json()
        assert (shown["name"], shown["profile"]) == ("Lindenhof am See", PROFILE)
        said = [message for message in await outbox(practice) if isinstance(message, PracticeChanged)]
        assert [(message.name, message.version, message.changed) for message in said] == [("Lindenhof am See", 2, ["name", "profile"])]
        hours = said[0].model_dump(mode="json")["opening_hours"]
        assert hours == PROFILE["opening_hours"]
        assert said[0].model_dump(mode="json")["holidays"] == [{"first": "2026-12-24", "last": "2027-01-02"}]

    async def test_says_nothing_when_nothing_changed(
        self, client: httpx.AsyncClient, as_admin: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        before = await outbox(practice)
        answer = await client.patch(f"/v1/practices/{practice}", json={"name": "Lindenhof"}, headers=as_admin)
        assert (answer.status_code, answer.json()["version"], await outbox(practice)) == (200, 1, before)

    async def test_tells_every_door_its_web_origins(
        self, client: httpx.AsyncClient, as_admin: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        await client.patch(f"/v1/practices/{practice}", json={"origins": ["https://www.lindenhof.example"]}, headers=as_admin)
        last = (await outbox(practice))[-1]
        assert isinstance(last, PracticeAccessChanged)
        assert last.origins == ["https://www.lindenhof.example"]

    async def test_needs_the_version_the_client_saw(self, client: httpx.AsyncClient, as_admin: Headers, practice: UUID) -> None:
        answer = await client.patch(f"/v1/practices/{practice}", json={"name": "Late"}, headers={**as_admin, "If-Match": '"7"'})
        assert answer.status_code == 412

    @pytest.mark.parametrize(
        ("profile", "pointer"),
        [
            ({"opening_hours": [{"day": "monday", "opens": "12:00:00", "closes": "08:00:00"}]}, "/profile/opening_hours/0"),
            ({"opening_hours": [PROFILE["opening_hours"][0], PROFILE["opening_hours"][0]]}, "/profile"),  # type: ignore[index]
            ({"opening_hours": [{"day": "someday", "opens": "08:00:00", "closes": "09:00:00"}]}, "/profile/opening_hours/0/day"),
            ({"holidays": [{"first": "2026-12-24", "last": "2026-12-23", "name": "Never"}]}, "/profile/holidays/0"),
            ({"holidays": [{"first": "2026-02-30", "last": "2026-03-01", "name": "Never"}]}, "/profile/holidays/0/first"),
            ({"branding": {"colour": "red"}}, "/profile/branding/colour"),
            ({"branding": {"logo_url": "javascript:alert(1)"}}, "/profile/branding/logo_url"),
            ({"address": {**PROFILE["address"], "country": "Germany"}}, "/profile/address/country"),  # type: ignore[dict-item]
            ({"owner": "me"}, "/profile/owner"),
        ],
    )
    async def test_points_at_what_is_wrong_in_a_profile(
        self, profile: dict[str, Any], pointer: str, client: httpx.AsyncClient, as_admin: Headers, practice: UUID
    ) -> None:
        answer = await client.patch(f"/v1/practices/{practice}", json={"profile": profile}, headers=as_admin)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)

    @pytest.mark.parametrize(
        "origin",
        ["http://www.practice.example", "https://www.practice.example/", "https://a@b.example", "*", "null", "https://", "file://x"],
    )
    async def test_refuses_what_is_no_web_origin(self, origin: str, client: httpx.AsyncClient, as_admin: Headers, practice: UUID) -> None:
        answer = await client.patch(f"/v1/practices/{practice}", json={"origins": [origin]}, headers=as_admin)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/origins/0")


class TestSuspend:
    async def test_shuts_everybody_out_until_it_ends(
        self, client: httpx.AsyncClient, as_admin: Headers, as_vantage_admin: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        path = f"/v1/practices/{practice}"
        answer = await client.post(f"{path}/suspend", json={"reason": "The contract has ended."}, headers=as_vantage_admin)
        assert (answer.status_code, answer.json()["suspended"]) == (200, True)
        assert (await client.get("/v1/me", headers=as_admin)).json()["code"] == "practice_is_suspended"
        assert (await client.post(f"{path}/reactivate", headers=as_vantage_admin)).json()["suspended"] is False
        assert (await client.get("/v1/me", headers=as_admin)).status_code == 200
        said = [type(message) for message in await outbox(practice)]
        assert said[-4:] == [PracticeSuspended, PracticeAccessChanged, PracticeReactivated, PracticeAccessChanged]

    async def test_is_refused_twice(self, client: httpx.AsyncClient, as_vantage_admin: Headers, practice: UUID) -> None:
        path = f"/v1/practices/{practice}"
        assert (await client.post(f"{path}/reactivate", headers=as_vantage_admin)).json()["code"] == "practice_not_suspended"
        await client.post(f"{path}/suspend", json={"reason": "x"}, headers=as_vantage_admin)
        answer = await client.post(f"{path}/suspend", json={"reason": "x"}, headers=as_vantage_admin)
        assert (answer.status_code, answer.json()["code"]) == (409, "practice_suspended_already")

    async def test_finds_no_practice_nobody_has(self, client: httpx.AsyncClient, as_vantage_admin: Headers) -> None:
        for practice in (uuid4(), UUID(int=0)):
            answer = await client.post(f"/v1/practices/{practice}/suspend", json={"reason": "x"}, headers=as_vantage_admin)
            assert (answer.status_code, answer.json()["code"]) == (404, "practice_not_found")

    async def test_is_for_vantage_admins(self, client: httpx.AsyncClient, as_admin: Headers, practice: UUID) -> None:
        assert (await client.post(f"/v1/practices/{practice}/suspend", json={"reason": "x"}, headers=as_admin)).status_code == 403


class TestEntry:
    REASON = "The practice asked for help with its reminders."

    async def test_lets_a_vantage_admin_in_and_shows_it_to_the_practice(
        self,
        client: httpx.AsyncClient,
        as_admin: Headers,
        as_vantage_admin: Headers,
        practice: UUID,
        operator_id: tuple[UUID, str],
        outbox: Outbox,
    ) -> None:
        inside = {**as_vantage_admin, "Vantage-Practice": str(practice)}
        assert (await client.get("/v1/users", headers=inside)).json()["code"] == "entry_needed"
        opened = await client.post(
            f"/v1/practices/{practice}/entries", json={"reason": self.REASON, "minutes": 30}, headers=as_vantage_admin
        )
        assert opened.status_code == 201
        assert len((await client.get("/v1/users", headers=inside)).json()["items"]) == 1
        me = (await client.get("/v1/me", headers=inside)).json()
        assert (me["entry_id"], me["practice"]["id"], me["user"]) == (opened.json()["id"], str(practice), None)
        (shown,) = (await client.get("/v1/entries", headers=as_admin)).json()["items"]
        assert (shown["reason"], shown["user_id"]) == (self.REASON, str(operator_id[0]))
        assert isinstance((await outbox(practice))[-1], EntryChanged)

    async def test_ends_when_it_is_closed(self, client: httpx.AsyncClient, as_vantage_admin: Headers, practice: UUID) -> None:
        path = f"/v1/practices/{practice}/entries"
        opened = (await client.post(path, json={"reason": self.REASON}, headers=as_vantage_admin)).json()
        for _ in range(2):
            assert (await client.post(f"{path}/{opened['id']}/close", headers=as_vantage_admin)).status_code == 200
        answer = await client.get("/v1/users", headers={**as_vantage_admin, "Vantage-Practice": str(practice)})
        assert answer.json()["code"] == "entry_needed"

    @pytest.mark.parametrize("body", [{}, {"reason": "help"}, {"reason": REASON, "minutes": 0}, {"reason": REASON, "minutes": 500}])
    async def test_has_a_reason_and_a_limit(
        self, body: dict[str, Any], client: httpx.AsyncClient, as_vantage_admin: Headers, practice: UUID
    ) -> None:
        assert (await client.post(f"/v1/practices/{practice}/entries", json=body, headers=as_vantage_admin)).status_code == 422

    async def test_a_practice_that_lost_its_admins_gets_a_new_one(
        self, client: httpx.AsyncClient, as_vantage_admin: Headers, practice: UUID, accept: Accept
    ) -> None:
        body = {**JONAS, "role": "practice_admin"}
        invited = await client.post(f"/v1/practices/{practice}/invitations", json=body, headers=as_vantage_admin)
        assert invited.status_code == 201
        assert await accept(practice, invited.json()["user_id"])
