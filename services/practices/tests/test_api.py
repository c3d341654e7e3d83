"""Practices and their users over HTTP: made by Vantage admins, run by their own, and never left without one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.auth import Role
from libs.contracts.envelope import Message
from libs.contracts.practices import PracticeCreated, UserAdded, UserDeactivated, UserRole, UserRoleChanged
from libs.testing.fixtures import Token

Outbox = Callable[[UUID], Awaitable[list[Message]]]
Headers = dict[str, str]
ADMIN = {"name": "Ada Lund", "email": "Ada.Lund@Lindenhof.example", "subject": "ada-at-the-issuer"}
LINDENHOF = {"name": "Lindenhof", "time_zone": "Europe/Berlin", "admin": ADMIN}
JONAS = {"name": "Jonas Falk", "email": "jonas.falk@lindenhof.example"}


@pytest.fixture
async def lindenhof(client: httpx.AsyncClient, as_vantage_admin: Headers) -> dict[str, Any]:
    answer = await client.post("/v1/practices", json=LINDENHOF, headers=as_vantage_admin)
    assert answer.status_code == 201, answer.text
    view: dict[str, Any] = answer.json()
    return view


@pytest.fixture
def practice(lindenhof: dict[str, Any]) -> UUID:
    """The practice just made; the headers of the tests are those of its people."""
    return UUID(lindenhof["id"])


async def add(client: httpx.AsyncClient, headers: Headers, **fields: Any) -> httpx.Response:
    return await client.post("/v1/users", json={**JONAS, **fields}, headers=headers)


class TestCreate:
    async def test_makes_the_practice_and_its_first_admin_together(self, lindenhof: dict[str, Any], practice: UUID, outbox: Outbox) -> None:
        admin = lindenhof["admin"]
        assert (lindenhof["name"], lindenhof["time_zone"], admin["email"]) == ("Lindenhof", "Europe/Berlin", "ada.lund@lindenhof.example")
        assert await outbox(practice) == [
            PracticeCreated(new_practice_id=practice, name="Lindenhof", time_zone="Europe/Berlin"),
            UserAdded(user_id=UUID(admin["id"]), role=UserRole.PRACTICE_ADMIN, name="Ada Lund", email="ada.lund@lindenhof.example"),
        ]

    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            ({"time_zone": "Berlin"}, "/time_zone"),
            ({"name": ""}, "/name"),
            ({"admin": {"name": "Ada", "email": "ada"}}, "/admin/email"),
            ({"admin": None}, "/admin"),
            ({"plan": "free"}, "/plan"),
        ],
    )
    async def test_points_at_what_is_wrong(
        self, fields: dict[str, Any], pointer: str, client: httpx.AsyncClient, as_vantage_admin: Headers
    ) -> None:
        answer = await client.post("/v1/practices", json={**LINDENHOF, **fields}, headers=as_vantage_admin)
        assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (422, [pointer])

    async def test_is_for_vantage_admins(self, client: httpx.AsyncClient, as_admin: Headers, as_user: Headers) -> None:
        for headers in (as_admin, as_user):
            answer = await client.post("/v1/practices", json=LINDENHOF, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "role_not_allowed")

    async def test_with_a_key_makes_one_however_often_it_is_asked(self, client: httpx.AsyncClient, as_vantage_admin: Headers) -> None:
        keyed = {**as_vantage_admin, "Idempotency-Key": str(uuid4())}
        first = await client.post("/v1/practices", json=LINDENHOF, headers=keyed)
        again = await client.post("/v1/practices", json=LINDENHOF, headers=keyed)
        assert (first.status_code, again.json()["id"]) == (201, first.json()["id"])


class TestShow:
    async def test_shows_the_callers_own(
        self, lindenhof: dict[str, Any], practice: UUID, client: httpx.AsyncClient, as_user: Headers
    ) -> None:
        answer = await client.get(f"/v1/practices/{practice}", headers=as_user)
        assert (answer.status_code, answer.json()["name"]) == (200, lindenhof["name"])

    async def test_finds_no_other(self, practice: UUID, client: httpx.AsyncClient, as_stranger: Headers) -> None:
        answer = await client.get(f"/v1/practices/{practice}", headers=as_stranger)
        assert (answer.status_code, answer.json()["code"]) == (404, "practice_not_found")


class TestList:
    async def test_shows_vantage_admins_names_and_nothing_of_people(
        self, lindenhof: dict[str, Any], client: httpx.AsyncClient, as_vantage_admin: Headers
    ) -> None:
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while cursor is not None or not found:
            page = (await client.get("/v1/practices", params={"cursor": cursor} if cursor else {}, headers=as_vantage_admin)).json()
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        (entry,) = [entry for entry in found if entry["id"] == lindenhof["id"]]
        assert set(entry) == {"id", "name", "created_at"}

    async def test_is_for_vantage_admins(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        assert (await client.get("/v1/practices", headers=as_admin)).status_code == 403


class TestAddUser:
    async def test_adds_and_says_it(self, practice: UUID, client: httpx.AsyncClient, as_admin: Headers, outbox: Outbox) -> None:
        answer = await add(client, as_admin)
        view = answer.json()
        assert (answer.status_code, view["role"], view["active"]) == (201, "regular_user", True)
        assert (await outbox(practice))[-1] == UserAdded(user_id=UUID(view["id"]), role=UserRole.REGULAR_USER, **JONAS)

    async def test_refuses_an_address_somebody_has(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        answer = await add(client, as_admin, email="ADA.LUND@lindenhof.example")
        assert (answer.status_code, answer.json()["code"], answer.json()["errors"][0]["pointer"]) == (409, "email_taken", "/email")

    async def test_adds_one_when_two_ask_for_one_address_at_once(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        answers = await asyncio.gather(*(add(client, as_admin) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]

    async def test_makes_no_vantage_admin(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        assert (await add(client, as_admin, role="vantage_admin")).status_code == 422

    async def test_is_for_practice_admins(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        assert (await add(client, as_user)).status_code == 403

    async def test_finds_no_practice_for_a_token_of_one_we_do_not_know(self, client: httpx.AsyncClient, as_stranger: Headers) -> None:
        answer = await add(client, as_stranger)
        assert (answer.status_code, answer.json()["code"]) == (404, "practice_not_found")


class TestListUsers:
    async def test_shows_the_practices_own_by_address(self, client: httpx.AsyncClient, as_admin: Headers, as_user: Headers) -> None:
        await add(client, as_admin)
        page = (await client.get("/v1/users", params={"limit": 1}, headers=as_user)).json()
        rest = (await client.get("/v1/users", params={"cursor": page["next_cursor"]}, headers=as_user)).json()
        assert [user["email"] for user in page["items"] + rest["items"]] == ["ada.lund@lindenhof.example", JONAS["email"]]

    async def test_shows_nobody_to_strangers(self, practice: UUID, client: httpx.AsyncClient, as_stranger: Headers) -> None:
        assert practice
        assert (await client.get("/v1/users", headers=as_stranger)).json()["items"] == []


class TestChangeUser:
    async def test_gives_another_role_and_says_it(
        self, practice: UUID, client: httpx.AsyncClient, as_admin: Headers, outbox: Outbox
    ) -> None:
        user = (await add(client, as_admin)).json()
        answer = await client.patch(f"/v1/users/{user['id']}", json={"role": "practice_admin"}, headers=as_admin)
        assert (answer.status_code, answer.json()["role"], answer.json()["version"]) == (200, "practice_admin", 2)
        said = UserRoleChanged(user_id=UUID(user["id"]), role=UserRole.PRACTICE_ADMIN, previous_role=UserRole.REGULAR_USER)
        assert (await outbox(practice))[-1] == said

    async def test_deactivates_and_says_it_once(self, practice: UUID, client: httpx.AsyncClient, as_admin: Headers, outbox: Outbox) -> None:
        user = (await add(client, as_admin)).json()
        for _ in range(2):
            answer = await client.patch(f"/v1/users/{user['id']}", json={"active": False}, headers=as_admin)
            assert (answer.status_code, answer.json()["active"]) == (200, False)
        said = [message for message in await outbox(practice) if isinstance(message, UserDeactivated)]
        assert said == [UserDeactivated(user_id=UUID(user["id"]))]

    @pytest.mark.parametrize("change", [{"role": "regular_user"}, {"active": False}])
    async def test_keeps_the_last_admin(
        self, change: dict[str, Any], lindenhof: dict[str, Any], client: httpx.AsyncClient, as_admin: Headers
    ) -> None:
        answer = await client.patch(f"/v1/users/{lindenhof['admin']['id']}", json=change, headers=as_admin)
        assert (answer.status_code, answer.json()["code"]) == (422, "last_admin_stays")

    async def test_keeps_one_admin_when_the_last_two_go_at_once(
        self, lindenhof: dict[str, Any], client: httpx.AsyncClient, as_admin: Headers
    ) -> None:
        second = (await add(client, as_admin, role="practice_admin")).json()
        leaving = [lindenhof["admin"]["id"], second["id"]]
        answers = await asyncio.gather(*(client.patch(f"/v1/users/{user}", json={"active": False}, headers=as_admin) for user in leaving))
        assert sorted(answer.status_code for answer in answers) == [200, 422]

    async def test_is_for_practice_admins(self, lindenhof: dict[str, Any], client: httpx.AsyncClient, as_user: Headers) -> None:
        answer = await client.patch(f"/v1/users/{lindenhof['admin']['id']}", json={"active": False}, headers=as_user)
        assert answer.status_code == 403

    async def test_finds_nobody_of_another_practice(
        self, lindenhof: dict[str, Any], client: httpx.AsyncClient, as_stranger: Headers
    ) -> None:
        answer = await client.patch(f"/v1/users/{lindenhof['admin']['id']}", json={"active": False}, headers=as_stranger)
        assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found")


class TestMe:
    async def test_knows_the_caller_by_the_issuers_id(self, practice: UUID, client: httpx.AsyncClient, token: Token) -> None:
        headers = {"Authorization": f"Bearer {token(Role.PRACTICE_ADMIN, practice, subject='ada-at-the-issuer')}"}
        me = (await client.get("/v1/me", headers=headers)).json()
        assert (me["role"], me["practice"]["name"], me["user"]["email"]) == ("practice_admin", "Lindenhof", "ada.lund@lindenhof.example")

    async def test_knows_the_caller_by_our_own_id(
        self, lindenhof: dict[str, Any], practice: UUID, client: httpx.AsyncClient, token: Token
    ) -> None:
        headers = {"Authorization": f"Bearer {token(Role.PRACTICE_ADMIN, practice, subject=lindenhof['admin']['id'])}"}
        assert (await client.get("/v1/me", headers=headers)).json()["user"]["name"] == "Ada Lund"

    async def test_shows_no_user_for_a_token_whose_holder_is_not_on_the_list(
        self, practice: UUID, client: httpx.AsyncClient, as_user: Headers
    ) -> None:
        me = (await client.get("/v1/me", headers=as_user)).json()
        assert (me["practice"]["id"], me["user"]) == (str(practice), None)

    async def test_shows_a_vantage_admin_no_practice(self, client: httpx.AsyncClient, as_vantage_admin: Headers) -> None:
        me = (await client.get("/v1/me", headers=as_vantage_admin)).json()
        assert me == {"role": "vantage_admin", "practice": None, "user": None}
