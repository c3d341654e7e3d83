"""A practice's people: invited, come in time, changed by their admins, and never without one."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.auth import Principal
from libs.common.work import Work
from libs.contracts.access import MemberAccessChanged
from libs.contracts.permissions import GRANTS, Role
from libs.contracts.practices import UserAdded, UserDeactivated, UserInvited, UserRoleChanged
from libs.testing.fixtures import Headers, Outbox, Token
from services.practices.commands.identity import token_for
from services.practices.commands.sending import known_as
from services.practices.tests.conftest import JONAS, Accept


async def invite(client: httpx.AsyncClient, headers: Headers, **fields: Any) -> httpx.Response:
    return await client.post("/v1/invitations", json={**JONAS, **fields}, headers=headers)


async def join(client: httpx.AsyncClient, headers: Headers, accept: Accept, practice: UUID, **fields: Any) -> str:
    """Somebody who was invited and came; returns our id of them."""
    user_id: str = (await invite(client, headers, **fields)).json()["user_id"]
    await accept(practice, user_id)
    return user_id


class TestInvite:
    async def test_asks_and_says_it(self, practice: UUID, client: httpx.AsyncClient, as_admin: Headers, outbox: Outbox) -> None:
        answer = await invite(client, as_admin)
        assert (answer.status_code, answer.json()["state"], answer.json()["sent_count"]) == (201, "open", 0)
        last = (await outbox(practice))[-1]
        assert isinstance(last, UserInvited)
        assert (last.email, last.role) == (JONAS["email"], Role.REGULAR_USER)

    async def test_is_shown_until_it_is_accepted(
        self, practice: UUID, client: httpx.AsyncClient, as_admin: Headers, accept: Accept, outbox: Outbox
    ) -> None:
        user_id = (await invite(client, as_admin)).json()["user_id"]
        (open_one,) = (await client.get("/v1/invitations", headers=as_admin)).json()["items"]
        assert open_one["user_id"] == user_id
        identity = await accept(practice, user_id)
        assert (await client.get("/v1/invitations", headers=as_admin)).json()["items"] == []
        assert (await outbox(practice))[-2:] == [
            UserAdded(user_id=UUID(user_id), role=Role.REGULAR_USER, **JONAS),
            MemberAccessChanged(user_id=UUID(user_id), identity=identity, role=Role.REGULAR_USER, active=True, version=2),
        ]

    async def test_refuses_an_address_somebody_has(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        answer = await invite(client, as_admin, email="ADA.LUND@lindenhof.example")
        assert (answer.status_code, answer.json()["code"], answer.json()["errors"][0]["pointer"]) == (409, "email_taken", "/email")

    async def test_asks_once_when_several_ask_at_once(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        answers = await asyncio.gather(*(invite(client, as_admin) for _ in range(4)))
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert len((await client.get("/v1/invitations", headers=as_admin)).json()["items"]) == 1

    @pytest.mark.parametrize("fields", [{"role": "vantage_admin"}, {"email": "a@x.example, b@y.example"}, {"name": ""}, {"is_admin": True}])
    async def test_refuses_what_nobody_can_be(self, fields: dict[str, Any], client: httpx.AsyncClient, as_admin: Headers) -> None:
        assert (await invite(client, as_admin, **fields)).status_code == 422

    async def test_an_expired_one_lets_nobody_in_until_it_is_sent_again(
        self, practice: UUID, client: httpx.AsyncClient, as_admin: Headers, work: Work
    ) -> None:
        user_id = (await invite(client, as_admin)).json()["user_id"]
        async with work(Principal.system("test", practice)) as tx:
            await known_as((practice, UUID(user_id)), f"late-{user_id}", tx)
            await tx.execute("UPDATE invitation SET expires_at = now() - interval '1 second' WHERE user_id = $1", UUID(user_id))
        assert (await client.get("/v1/invitations", headers=as_admin)).json()["items"][0]["state"] == "expired"
        assert "expired" in ((await token_for(f"late-{user_id}", None, work)).refusal or "")
        assert (await client.post(f"/v1/invitations/{user_id}/resend", headers=as_admin)).json()["state"] == "open"
        assert (await token_for(f"late-{user_id}", None, work)).practice_id == practice

    async def test_a_withdrawn_one_lets_nobody_in(self, practice: UUID, client: httpx.AsyncClient, as_admin: Headers, work: Work) -> None:
        user_id = (await invite(client, as_admin)).json()["user_id"]
        async with work(Principal.system("test", practice)) as tx:
            await known_as((practice, UUID(user_id)), f"out-{user_id}", tx)
        assert (await client.post(f"/v1/invitations/{user_id}/revoke", headers=as_admin)).json()["state"] == "revoked"
        assert "withdrawn" in ((await token_for(f"out-{user_id}", None, work)).refusal or "")
        again = await client.post(f"/v1/invitations/{user_id}/resend", headers=as_admin)
        assert (again.status_code, again.json()["code"]) == (409, "invitation_revoked_already")
        assert (await invite(client, as_admin, role="practice_admin")).json()["user_id"] == user_id

    async def test_is_for_practice_admins(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        assert (await invite(client, as_user)).status_code == 403

    @pytest.mark.parametrize("verb", ["resend", "revoke"])
    async def test_finds_no_invitation_of_a_user(
        self, verb: str, practice: UUID, client: httpx.AsyncClient, as_admin: Headers, ada: tuple[UUID, str]
    ) -> None:
        for user_id in (ada[0], uuid4()):
            answer = await client.post(f"/v1/invitations/{user_id}/{verb}", headers=as_admin)
            assert (answer.status_code, answer.json()["code"]) == (404, "invitation_not_found")


class TestListUsers:
    async def test_shows_the_practices_own_by_address(
        self, practice: UUID, client: httpx.AsyncClient, as_admin: Headers, as_user: Headers, accept: Accept
    ) -> None:
        await join(client, as_admin, accept, practice)
        await invite(client, as_admin, email="not.yet@lindenhof.example")
        page = (await client.get("/v1/users", params={"limit": 1}, headers=as_user)).json()
        rest = (await client.get("/v1/users", params={"cursor": page["next_cursor"]}, headers=as_user)).json()
        assert [user["email"] for user in page["items"] + rest["items"]] == ["ada.lund@lindenhof.example", JONAS["email"]]

    async def test_shows_nobody_to_strangers(self, practice: UUID, client: httpx.AsyncClient, as_stranger: Headers) -> None:
        assert practice
        assert (await client.get("/v1/users", headers=as_stranger)).json()["items"] == []


class TestChangeUser:
    async def test_gives_another_role_and_says_it(
        self, practice: UUID, client: httpx.AsyncClient, as_admin: Headers, accept: Accept, outbox: Outbox
    ) -> None:
        user = await join(client, as_admin, accept, practice)
        answer = await client.patch(f"/v1/users/{user}", json={"role": "practice_admin"}, headers=as_admin)
        assert (answer.status_code, answer.json()["role"]) == (200, "practice_admin")
        said = UserRoleChanged(user_id=UUID(user), role=Role.PRACTICE_ADMIN, previous_role=Role.REGULAR_USER)
        assert said in await outbox(practice)

    async def test_a_deactivated_ones_token_stops_at_once_and_starts_again(
        self, practice: UUID, client: httpx.AsyncClient, as_admin: Headers, accept: Accept, token: Token, work: Work, outbox: Outbox
    ) -> None:
        user = (await invite(client, as_admin)).json()["user_id"]
        identity = await accept(practice, user)
        headers = {"Authorization": f"Bearer {token(practice, subject=identity)}"}
        assert (await client.get("/v1/me", headers=headers)).status_code == 200
        for _ in range(2):
            assert (await client.patch(f"/v1/users/{user}", json={"active": False}, headers=as_admin)).json()["active"] is False
        assert (await client.get("/v1/me", headers=headers)).json()["code"] == "access_ended"
        assert (await token_for(identity, None, work)).refusal == "Your access has ended."
        assert [message for message in await outbox(practice) if isinstance(message, UserDeactivated)] == [
            UserDeactivated(user_id=UUID(user))
        ]
        await client.patch(f"/v1/users/{user}", json={"active": True}, headers=as_admin)
        assert (await client.get("/v1/me", headers=headers)).status_code == 200

    @pytest.mark.parametrize("change", [{"role": "regular_user"}, {"active": False}])
    async def test_keeps_the_last_admin(
        self, change: dict[str, Any], ada: tuple[UUID, str], client: httpx.AsyncClient, as_admin: Headers
    ) -> None:
        answer = await client.patch(f"/v1/users/{ada[0]}", json=change, headers=as_admin)
        assert (answer.status_code, answer.json()["code"]) == (422, "last_admin_stays")

    async def test_keeps_one_admin_when_the_last_two_dismiss_each_other(
        self, practice: UUID, ada: tuple[UUID, str], client: httpx.AsyncClient, as_admin: Headers, accept: Accept, token: Token
    ) -> None:
        second = (await invite(client, as_admin, role="practice_admin")).json()["user_id"]
        as_second = {"Authorization": f"Bearer {token(practice, subject=await accept(practice, second))}"}
        answers = await asyncio.gather(
            client.patch(f"/v1/users/{second}", json={"active": False}, headers=as_admin),
            client.patch(f"/v1/users/{ada[0]}", json={"active": False}, headers=as_second),
        )
        assert sorted(answer.status_code for answer in answers) in ([200, 422], [200, 401])

    async def test_nobody_changes_their_own_role(
        self, practice: UUID, ada: tuple[UUID, str], client: httpx.AsyncClient, as_admin: Headers, accept: Accept
    ) -> None:
        await join(client, as_admin, accept, practice, role="practice_admin")
        answer = await client.patch(f"/v1/users/{ada[0]}", json={"role": "regular_user"}, headers=as_admin)
        assert (answer.status_code, answer.json()["code"]) == (422, "own_role_stays")

    async def test_is_for_practice_admins(self, ada: tuple[UUID, str], client: httpx.AsyncClient, as_user: Headers) -> None:
        assert (await client.patch(f"/v1/users/{ada[0]}", json={"active": False}, headers=as_user)).status_code == 403

    async def test_finds_nobody_of_another_practice(self, ada: tuple[UUID, str], client: httpx.AsyncClient, as_stranger: Headers) -> None:
        answer = await client.patch(f"/v1/users/{ada[0]}", json={"active": False}, headers=as_stranger)
        assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found")


class TestMe:
    async def test_says_who_and_what(self, practice: UUID, ada: tuple[UUID, str], client: httpx.AsyncClient, as_admin: Headers) -> None:
        me = (await client.get("/v1/me", headers=as_admin)).json()
        assert (me["role"], me["practice"]["name"], me["user"]["id"]) == ("practice_admin", "Lindenhof", str(ada[0]))
        assert me["permissions"] == sorted(GRANTS[Role.PRACTICE_ADMIN])

    async def test_shows_a_vantage_admin_no_practice(self, client: httpx.AsyncClient, as_vantage_admin: Headers) -> None:
        me = (await client.get("/v1/me", headers=as_vantage_admin)).json()
        assert (me["role"], me["practice"]) == ("vantage_admin", None)
