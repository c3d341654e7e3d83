"""Who comes in: known members of practices that work, Vantage admins through an entry, keys for what they were made for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import Response

from libs.common import access
from libs.common.access import Access, take_access
from libs.common.auth import Permission, Principal, Role
from libs.common.errors import NotFound
from libs.common.http import DoorDep, Routes, needs
from libs.common.http.app import Doorkeepers, make_app
from libs.common.paging import Cursors
from libs.common.secrets import SecretBox
from libs.common.tokens import Issuer, TokenVerifier, house_issuer
from libs.common.work import Work
from libs.contracts.access import DENIED, EntryChanged, MemberAccessChanged, PracticeAccessChanged
from libs.contracts.envelope import PLATFORM, Message
from libs.testing.fixtures import AUDIENCE, CURSOR_KEY, GATEWAY_KEY, ISSUER, SECRETS_KEYS, Headers, Join, Outbox, Token, _OneKey, admit


def routes() -> Routes:
    router = Routes()

    @router.get("/patients", **needs(Permission.PATIENTS_READ))
    async def read(door: DoorDep) -> Response:
        async with door.work() as tx:
            return await door.answer(tx, {"practice": str(tx.practice_id), "actor": tx.principal.actor})

    @router.post("/users", **needs(Permission.USERS_WRITE))
    async def write(_door: DoorDep) -> Response:
        return Response()

    @router.get("/gone/{thing_id}", **needs(Permission.PATIENTS_READ))
    async def gone(thing_id: UUID, _door: DoorDep) -> Response:
        raise NotFound

    return router


@pytest.fixture
async def client(work: Work, signing_key: ec.EllipticCurvePrivateKey) -> AsyncIterator[httpx.AsyncClient]:
    async def checks() -> dict[str, str]:
        return {}

    verifier = TokenVerifier(Issuer(ISSUER, AUDIENCE, "ES256", _OneKey(signing_key)), house_issuer(bytes.fromhex(GATEWAY_KEY)))
    app = make_app(
        "test",
        work=work,
        keepers=Doorkeepers(verifier, Access(work), Cursors(CURSOR_KEY), SecretBox.local(SECRETS_KEYS), "proof"),
        checks=checks,
    )
    app.include_router(routes())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://vantage.test") as client:
        yield client


@pytest.fixture
def news(work: Work) -> Callable[..., Any]:
    async def tell(practice_id: UUID, *messages: Message) -> None:
        async with work.batch([practice_id], Principal.system("test")) as tx:
            await take_access([(practice_id, message) for message in messages], tx)

    return tell


def status_of(practice: UUID, *, suspended: bool = False, origins: list[str] | None = None, version: int = 1) -> PracticeAccessChanged:
    return PracticeAccessChanged(changed_practice_id=practice, suspended=suspended, origins=origins or [], version=version)


class TestMembers:
    async def test_come_in_as_what_we_know_them(self, client: httpx.AsyncClient, join: Join, practice: UUID) -> None:
        user = uuid4()
        headers = await join(Role.REGULAR_USER, practice, user_id=user)
        assert (await client.get("/patients", headers=headers)).json() == {"practice": str(practice), "actor": f"user:{user}"}
        assert (await client.post("/users", headers=headers)).json()["code"] == "permission_missing"

    async def test_the_token_says_who_and_never_what(self, client: httpx.AsyncClient, work: Work, token: Token, practice: UUID) -> None:
        await admit(work, practice, Role.REGULAR_USER, "liar")
        claims = {"app_metadata": {"vantage_role": "vantage_admin", "role": "practice_admin"}, "user_metadata": {"role": "practice_admin"}}
        headers = {"Authorization": f"Bearer {token(practice, subject='liar', **claims)}"}
        assert (await client.post("/users", headers=headers)).status_code == 403

    async def test_nobody_comes_in_where_they_do_not_belong(
        self, client: httpx.AsyncClient, work: Work, token: Token, practice: UUID
    ) -> None:
        await admit(work, practice, Role.PRACTICE_ADMIN, "guest")
        for elsewhere in (uuid4(), None):
            answer = await client.get("/patients", headers={"Authorization": f"Bearer {token(elsewhere, subject='guest')}"})
            assert (answer.status_code, answer.json()["code"]) == (403, "not_a_member")

    @pytest.mark.parametrize("claim", ["mine", "00000000-0000-0000-0000-00000000000", 17, ["x"]])
    async def test_a_practice_that_is_none_is_refused(self, claim: Any, client: httpx.AsyncClient, token: Token) -> None:
        answer = await client.get("/patients", headers={"Authorization": f"Bearer {token(None, practice_id=claim)}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "token_refused")

    @pytest.mark.parametrize("claims", [{"role": "anon"}, {"role": "service_role"}, {"is_anonymous": True}, {"role": None}])
    async def test_tokens_of_nobody_are_refused(
        self, claims: dict[str, Any], client: httpx.AsyncClient, work: Work, token: Token, practice: UUID
    ) -> None:
        await admit(work, practice, Role.PRACTICE_ADMIN, "nobody")
        answer = await client.get("/patients", headers={"Authorization": f"Bearer {token(practice, subject='nobody', **claims)}"})
        assert answer.json()["code"] == "token_refused"

    async def test_a_deactivated_ones_valid_token_stops_at_once(
        self, client: httpx.AsyncClient, work: Work, token: Token, practice: UUID, news: Any
    ) -> None:
        user = uuid4()
        await admit(work, practice, Role.PRACTICE_ADMIN, "leaver", user_id=user)
        headers = {"Authorization": f"Bearer {token(practice, subject='leaver')}"}
        assert (await client.get("/patients", headers=headers)).status_code == 200
        await news(practice, MemberAccessChanged(user_id=user, identity="leaver", role=Role.PRACTICE_ADMIN, active=False, version=2))
        answer = await client.get("/patients", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "access_ended")

    async def test_old_news_changes_nothing(self, client: httpx.AsyncClient, work: Work, token: Token, practice: UUID, news: Any) -> None:
        user = uuid4()
        later = MemberAccessChanged(user_id=user, identity="late", role=Role.REGULAR_USER, active=False, version=7)
        await news(practice, later, later.model_copy(update={"active": True, "version": 6}))
        answer = await client.get("/patients", headers={"Authorization": f"Bearer {token(practice, subject='late')}"})
        assert answer.status_code == 401

    async def test_another_process_learns_it_within_seconds(
        self, client: httpx.AsyncClient, work: Work, token: Token, practice: UUID, superuser: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No news in this process: the decision is looked at again when it is five seconds old."""
        now = [1000.0]
        monkeypatch.setattr(access, "monotonic", lambda: now[0])
        await admit(work, practice, Role.PRACTICE_ADMIN, "far")
        headers = {"Authorization": f"Bearer {token(practice, subject='far')}"}
        assert (await client.get("/patients", headers=headers)).status_code == 200
        superuser.execute("UPDATE patients.access_member SET active = false WHERE practice_id = %s", [practice])
        now[0] += access.REMEMBERED_SECONDS - 1
        assert (await client.get("/patients", headers=headers)).status_code == 200
        now[0] += 2
        assert (await client.get("/patients", headers=headers)).status_code == 401


class TestSuspension:
    async def test_lets_nobody_of_the_practice_in_until_it_ends(
        self, client: httpx.AsyncClient, as_admin: Headers, with_key: Callable[..., Headers], practice: UUID, news: Any
    ) -> None:
        key = with_key(practice, Permission.PATIENTS_READ)
        await news(practice, status_of(practice, suspended=True, version=1))
        for headers in (as_admin, key):
            answer = await client.get("/patients", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "practice_is_suspended")
        await news(practice, status_of(practice, version=2))
        for headers in (as_admin, key):
            assert (await client.get("/patients", headers=headers)).status_code == 200


class TestEntries:
    @pytest.fixture
    def admin(self) -> UUID:
        return uuid4()

    @pytest.fixture
    async def inside(self, work: Work, token: Token, practice: UUID, admin: UUID) -> Headers:
        identity = f"operator-{admin}"
        await admit(work, None, Role.VANTAGE_ADMIN, identity, user_id=admin)
        return {"Authorization": f"Bearer {token(None, subject=identity)}", "Vantage-Practice": str(practice)}

    def entry(self, admin: UUID, minutes: int = 10, version: int = 1, entry_id: UUID | None = None) -> EntryChanged:
        expires_at = datetime.now(UTC) + timedelta(minutes=minutes)
        return EntryChanged(
            entry_id=entry_id or uuid4(),
            user_id=admin,
            identity=f"operator-{admin}",
            reason="a support case",
            expires_at=expires_at,
            version=version,
        )

    async def test_without_one_a_vantage_admin_is_outside(
        self, client: httpx.AsyncClient, inside: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        answer = await client.get("/patients", headers=inside)
        assert (answer.status_code, answer.json()["code"]) == (403, "entry_needed")
        (denied,) = await outbox(practice)
        assert (denied.model_dump()["operation"], denied.model_dump()["code"]) == ("GET /patients", "entry_needed")

    async def test_with_one_they_act_as_themselves(
        self, client: httpx.AsyncClient, inside: Headers, practice: UUID, admin: UUID, news: Any
    ) -> None:
        await news(practice, self.entry(admin))
        assert (await client.get("/patients", headers=inside)).json() == {"practice": str(practice), "actor": f"user:{admin}"}

    async def test_they_make_nothing_that_outlasts_it(
        self, client: httpx.AsyncClient, inside: Headers, practice: UUID, admin: UUID, news: Any
    ) -> None:
        await news(practice, self.entry(admin))
        assert (await client.post("/users", headers=inside)).json()["code"] == "permission_missing"

    async def test_it_ends_by_itself(self, client: httpx.AsyncClient, inside: Headers, practice: UUID, admin: UUID, news: Any) -> None:
        await news(practice, self.entry(admin, minutes=-1))
        assert (await client.get("/patients", headers=inside)).json()["code"] == "entry_needed"

    async def test_it_can_be_ended(self, client: httpx.AsyncClient, inside: Headers, practice: UUID, admin: UUID, news: Any) -> None:
        opened = self.entry(admin)
        await news(practice, opened, self.entry(admin, minutes=-1, version=2, entry_id=opened.entry_id))
        assert (await client.get("/patients", headers=inside)).json()["code"] == "entry_needed"

    async def test_it_is_for_one_practice_and_one_person(
        self, client: httpx.AsyncClient, inside: Headers, practice: UUID, admin: UUID, news: Any
    ) -> None:
        await news(uuid4(), self.entry(admin))
        await news(practice, self.entry(uuid4()))
        assert (await client.get("/patients", headers=inside)).json()["code"] == "entry_needed"

    async def test_nobody_else_enters_by_naming_a_practice(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        answer = await client.get("/patients", headers={**as_admin, "Vantage-Practice": str(uuid4())})
        assert answer.json()["code"] == "not_a_member"

    async def test_the_platform_cannot_be_entered(self, client: httpx.AsyncClient, inside: Headers) -> None:
        answer = await client.get("/patients", headers={**inside, "Vantage-Practice": str(PLATFORM)})
        assert answer.status_code == 403


class TestKeys:
    async def test_do_what_their_scopes_say(self, client: httpx.AsyncClient, with_key: Callable[..., Headers], practice: UUID) -> None:
        assert (await client.get("/patients", headers=with_key(practice, Permission.PATIENTS_READ))).status_code == 200
        assert (await client.get("/patients", headers=with_key(practice, Permission.APPOINTMENTS_READ))).status_code == 403

    async def test_never_get_what_no_key_can_have(
        self, client: httpx.AsyncClient, with_key: Callable[..., Headers], practice: UUID
    ) -> None:
        assert (await client.post("/users", headers=with_key(practice, Permission.USERS_WRITE))).status_code == 403


class TestOrigins:
    PAGE = "https://www.lindenhof.example"

    async def test_a_page_of_the_practice_may_call(self, client: httpx.AsyncClient, as_admin: Headers, practice: UUID, news: Any) -> None:
        await news(practice, status_of(practice, origins=[self.PAGE]))
        answer = await client.get("/patients", headers={**as_admin, "Origin": self.PAGE})
        assert (answer.status_code, answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (200, self.PAGE, "origin")

    async def test_a_page_of_another_practice_may_not(self, client: httpx.AsyncClient, as_admin: Headers, news: Any) -> None:
        other = uuid4()
        await news(other, status_of(other, origins=["https://other.example"]))
        answer = await client.get("/patients", headers={**as_admin, "Origin": "https://other.example"})
        assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")

    async def test_a_page_of_this_very_address_may(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        assert (await client.get("/patients", headers={**as_admin, "Origin": "http://vantage.test"})).status_code == 200

    async def test_a_preflight_is_answered_without_a_token(self, client: httpx.AsyncClient, practice: UUID, news: Any) -> None:
        await news(practice, status_of(practice, origins=["https://preflight.example"]))
        asked = {"Origin": "https://preflight.example", "Access-Control-Request-Method": "GET"}
        answer = await client.options("/patients", headers=asked)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "https://preflight.example")
        assert "authorization" in answer.headers["access-control-allow-headers"]
        strange = await client.options("/patients", headers={**asked, "Origin": "https://strange.example"})
        assert (strange.status_code, "access-control-allow-origin" in strange.headers) == (403, False)


class TestDenials:
    async def test_each_leaves_one_entry(self, client: httpx.AsyncClient, as_user: Headers, practice: UUID, outbox: Outbox) -> None:
        await client.post("/users", headers=as_user)
        await client.get(f"/gone/{uuid4()}", headers=as_user)
        said = [message.model_dump(include={"operation", "code", "status"}) for message in await outbox(practice)]
        assert said == [
            {"operation": "POST /users", "code": "permission_missing", "status": 403},
            {"operation": "GET /gone/{thing_id}", "code": "not_found", "status": 404},
        ]

    def test_every_service_can_say_so(self) -> None:
        assert {denied.owner: denied for denied in DENIED.values()} == DENIED


def test_an_operation_without_a_declaration_does_not_start() -> None:
    router = Routes()
    with pytest.raises(TypeError, match="declare needs"):

        @router.get("/undeclared")
        async def undeclared() -> None: ...
