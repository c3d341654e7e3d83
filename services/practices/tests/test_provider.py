"""The identity provider asks and tells, signed: log-ins get a practice or a reason, changes are followed in any order."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from libs.common.auth import Principal
from libs.common.work import Work
from libs.contracts.practices import UserChanged, UserDeactivated, UserReactivated
from libs.testing.fixtures import HOOK_SECRET, Headers, Outbox, Token
from services.practices.commands import identity
from services.practices.commands.identity import SYSTEM
from services.practices.commands.reconcile import reconcile
from services.practices.commands.sending import known_as, send_due
from services.practices.queries import homes_of
from services.practices.rules.provider import InviteAnswer, PersonThere
from services.practices.rules.signatures import SignatureInvalid, check_signature, read_secrets
from services.practices.tests.conftest import JONAS, Accept

Signed = Callable[..., Awaitable[httpx.Response]]
KEY = read_secrets(HOOK_SECRET)[0]
CLAIMS = {"aud": "authenticated", "exp": 1, "iat": 1, "sub": "x", "email": "", "phone": "", "role": "authenticated", "aal": "aal1"}


def signed_headers(body: bytes, *, at: datetime | None = None, delivery: str = "", key: bytes = KEY) -> dict[str, str]:
    delivery = delivery or f"msg_{uuid4()}"
    timestamp = str(int((at or datetime.now(UTC)).timestamp()))
    mac = hmac.new(key, f"{delivery}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": delivery, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{base64.b64encode(mac).decode()}"}


@pytest.fixture
def hook(client: httpx.AsyncClient) -> Signed:
    """``await hook(path, body, **signing)``: as Auth calls it."""

    async def call(path: str, body: Any, **signing: Any) -> httpx.Response:
        raw = json.dumps(body).encode()
        headers = {"content-type": "application/json", **signed_headers(raw, **signing)}
        return await client.post(f"/hooks/supabase/{path}", content=raw, headers=headers)

    return call


def login(identity: str, **claims: Any) -> dict[str, Any]:
    metadata = {"uuid": str(uuid4()), "time": "2026-03-02T08:00:00Z", "name": "customize-access-token", "ip_address": "192.0.2.1"}
    return {"metadata": metadata, "user_id": identity, "claims": {**CLAIMS, **claims}, "authentication_method": "password"}


def change(identity: str, kind: str = "UPDATE", *, minute: int = 0, **fields: Any) -> dict[str, Any]:
    record = {
        "id": identity, "email": "ada.lund@lindenhof.example", "updated_at": f"2026-11-24T10:{minute:02d}:00.123456+00:00", "aud": "authenticated",
        "banned_until": None, "deleted_at": None, **fields,
    }  # fmt: skip
    old, new = (record, None) if kind == "DELETE" else (None, record)
    return {"type": kind, "schema": "auth", "table": "users", "record": new, "old_record": old}


class TestSignature:
    BODY = b'{"a": 1}'

    def test_is_what_the_standard_library_of_the_format_makes(self) -> None:
        now = datetime.now(UTC)
        made = Webhook(HOOK_SECRET.removeprefix("v1,")).sign("msg_1", now, self.BODY.decode())
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": made}
        assert check_signature(headers, self.BODY, [KEY], now.timestamp()) == "msg_1"

    def test_counts_by_any_of_several_secrets_joined_as_auth_joins_them(self) -> None:
        other = bytes(range(40, 72))
        one, two = (signed_headers(self.BODY, delivery="m", key=key)["webhook-signature"] for key in (other, KEY))
        for joined in (f"{one}, {two}", f"{one} {two}", f"{two}, {one}"):
            headers = {**signed_headers(self.BODY, delivery="m"), "webhook-signature": joined}
            assert check_signature(headers, self.BODY, [KEY], datetime.now(UTC).timestamp()) == "m"

    @pytest.mark.parametrize(
        "bad",
        [
            {"webhook-signature": ""}, {"webhook-signature": "v1,"}, {"webhook-signature": "v2,AAAA"}, {"webhook-signature": "x" * 3000},
            {"webhook-signature": "v1,ÄÖÜ"}, {"webhook-id": ""}, {"webhook-timestamp": "yesterday"}, {"webhook-timestamp": "-1"},
            {"webhook-timestamp": "9" * 30}, {"webhook-timestamp": "²"}, {"webhook-id": "another"},
        ],
    )  # fmt: skip
    def test_anything_else_is_refused(self, bad: dict[str, str]) -> None:
        with pytest.raises(SignatureInvalid):
            check_signature({**signed_headers(self.BODY), **bad}, self.BODY, [KEY], datetime.now(UTC).timestamp())

    @pytest.mark.parametrize("minutes", [-10, 10])
    async def test_is_refused_when_it_is_old_or_from_the_future(self, minutes: int, hook: Signed) -> None:
        answer = await hook("access-token", login("x"), at=datetime.now(UTC) + timedelta(minutes=minutes))
        assert (answer.status_code, answer.json()["code"]) == (401, "hook_refused")

    async def test_covers_the_bytes_as_they_came(self, client: httpx.AsyncClient) -> None:
        raw = json.dumps(login("x")).encode()
        answer = await client.post("/hooks/supabase/access-token", content=raw + b" ", headers=signed_headers(raw))
        assert answer.status_code == 401

    @pytest.mark.parametrize(
        "secret", ["", "v1,whsec_", "v1,whsec_c2hvcnQ=", "v1,whsec_" + base64.b64encode(b"a" * 32).decode(), "changeme"]
    )
    def test_a_secret_that_protects_nothing_stops_the_start(self, secret: str) -> None:
        with pytest.raises(ValueError, match="24 random bytes"):
            read_secrets(secret)


class TestLogIn:
    async def test_gets_the_practice_and_nothing_else_changed(self, hook: Signed, ada: tuple[UUID, str], practice: UUID) -> None:
        answer = await hook("access-token", login(ada[1], practice_id="forged", app_metadata={"a": 1}))
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json() == {"claims": {**CLAIMS, "app_metadata": {"a": 1}, "practice_id": str(practice)}}

    async def test_a_vantage_admin_gets_none(self, hook: Signed, operator_id: tuple[UUID, str]) -> None:
        assert "practice_id" not in (await hook("access-token", login(operator_id[1]))).json()["claims"]

    async def test_somebody_nobody_knows_is_refused_with_a_sentence(self, hook: Signed) -> None:
        answer = await hook("access-token", login(str(uuid4())))
        assert (answer.status_code, answer.json()) == (200, {"error": {"http_code": 403, "message": "You have no access to any practice."}})

    async def test_by_a_link_followed_before_the_providers_answer_is_written_down_waits_for_it(
        self, hook: Signed, work: Work, ada: tuple[UUID, str], practice: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked, soon = asyncio.Event(), str(uuid4())

        async def looking(*args: Any) -> Any:
            found = await homes_of(*args)
            looked.set()
            return found

        monkeypatch.setattr(identity, "homes_of", looking)
        entering = asyncio.ensure_future(hook("access-token", login(soon)))
        await looked.wait()
        async with work.batch([practice], SYSTEM) as tx:
            tx.settle(practice)
            await known_as((practice, ada[0]), soon, tx)
        assert (await entering).json()["claims"]["practice_id"] == str(practice)

    async def test_of_a_suspended_practice_is_refused(
        self, hook: Signed, client: httpx.AsyncClient, ada: tuple[UUID, str], practice: UUID, as_vantage_admin: Headers
    ) -> None:
        await client.post(f"/v1/practices/{practice}/suspend", json={"reason": "x"}, headers=as_vantage_admin)
        assert (await hook("access-token", login(ada[1]))).json()["error"]["message"] == "Your practice is suspended."

    async def test_of_somebody_in_two_practices_goes_where_they_work_at_present(
        self,
        hook: Signed,
        client: httpx.AsyncClient,
        as_vantage_admin: Headers,
        ada: tuple[UUID, str],
        practice: UUID,
        accept: Accept,
        token: Token,
    ) -> None:
        body = {"name": "Second", "time_zone": "UTC", "users": [{"name": "Ada", "email": "ada@second.example", "role": "practice_admin"}]}
        second = (await client.post("/v1/practices", json=body, headers=as_vantage_admin)).json()
        await accept(UUID(second["id"]), second["invitations"][0]["user_id"], ada[1])
        for wanted in (str(practice), second["id"]):
            answer = await hook("access-token", login(ada[1], app_metadata={"practice_id": wanted}))
            assert answer.json()["claims"]["practice_id"] == wanted
        as_ada = {"Authorization": f"Bearer {token(practice, subject=ada[1])}"}
        me = (await client.get("/v1/me", headers=as_ada)).json()
        assert {one["name"] for one in me["practices"]} == {"Lindenhof", "Second"}
        for chosen in (second["id"], str(practice)):
            assert (await client.put("/v1/me/practice", json={"practice_id": chosen}, headers=as_ada)).status_code == 204
            assert (await hook("access-token", login(ada[1]))).json()["claims"]["practice_id"] == chosen
        elsewhere = await hook("access-token", login(ada[1], app_metadata={"practice_id": str(uuid4())}))
        assert elsewhere.json()["claims"]["practice_id"] in {str(practice), second["id"]}

    @pytest.mark.parametrize("body", [{}, [], {"user_id": 17, "claims": {}}, {"user_id": "x"}, {"user_id": "", "claims": {}}, "text"])
    async def test_a_body_that_is_none_is_refused(self, body: Any, hook: Signed) -> None:
        answer = await hook("access-token", body)
        assert (answer.status_code, answer.json()["code"]) == (422, "hook_malformed")


class TestChanges:
    async def test_another_address_is_followed(self, hook: Signed, ada: tuple[UUID, str], practice: UUID, outbox: Outbox) -> None:
        assert (await hook("user-change", change(ada[1], email="Ada@New.example"))).status_code == 204
        assert UserChanged(user_id=ada[0], name="Ada Lund", email="ada@new.example") in await outbox(practice)

    async def test_once_however_often_it_is_delivered(self, hook: Signed, ada: tuple[UUID, str], practice: UUID, outbox: Outbox) -> None:
        for _ in range(3):
            await hook("user-change", change(ada[1], email="ada@new.example"), delivery="the-same")
        await hook("user-change", change(ada[1], email="ada@new.example"))
        assert len([message for message in await outbox(practice) if isinstance(message, UserChanged)]) == 1

    @pytest.mark.parametrize("order", list(permutations(range(3))))
    async def test_whatever_order_they_come_in_the_newest_counts(
        self, order: tuple[int, ...], hook: Signed, client: httpx.AsyncClient, ada: tuple[UUID, str], as_admin: Headers
    ) -> None:
        reports = [change(ada[1], minute=minute, email=f"ada{minute}@new.example") for minute in (1, 2, 3)]
        for number in order:
            await hook("user-change", reports[number])
        (user,) = (await client.get("/v1/users", headers=as_admin)).json()["items"]
        assert user["email"] == "ada3@new.example"

    async def test_a_ban_ends_access_and_its_end_gives_it_back(
        self, hook: Signed, client: httpx.AsyncClient, ada: tuple[UUID, str], as_admin: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        await hook("user-change", change(ada[1], minute=1, banned_until="2099-01-01T00:00:00Z"))
        assert (await client.get("/v1/me", headers=as_admin)).json()["code"] == "access_ended"
        await hook("user-change", change(ada[1], minute=2))
        assert (await client.get("/v1/me", headers=as_admin)).status_code == 200
        said = [message for message in await outbox(practice) if isinstance(message, UserDeactivated | UserReactivated)]
        assert said == [UserDeactivated(user_id=ada[0]), UserReactivated(user_id=ada[0])]

    async def test_who_was_deleted_stays_so(
        self, hook: Signed, client: httpx.AsyncClient, ada: tuple[UUID, str], as_admin: Headers
    ) -> None:
        await hook("user-change", change(ada[1], "DELETE", minute=5))
        await hook("user-change", change(ada[1], minute=59))
        assert (await client.get("/v1/me", headers=as_admin)).json()["code"] == "access_ended"

    async def test_whom_the_practice_dismissed_the_provider_does_not_bring_back(
        self, hook: Signed, client: httpx.AsyncClient, as_admin: Headers, practice: UUID, accept: Accept
    ) -> None:
        user = (await client.post("/v1/invitations", json=JONAS, headers=as_admin)).json()["user_id"]
        identity = await accept(practice, user)
        await client.patch(f"/v1/users/{user}", json={"active": False}, headers=as_admin)
        await hook("user-change", change(identity, minute=9, email=JONAS["email"]))
        users = (await client.get("/v1/users", headers=as_admin)).json()["items"]
        assert [one["active"] for one in users if one["id"] == user] == [False]

    async def test_an_address_somebody_else_has_stays_theirs(
        self, hook: Signed, client: httpx.AsyncClient, as_admin: Headers, ada: tuple[UUID, str], practice: UUID, accept: Accept
    ) -> None:
        user = (await client.post("/v1/invitations", json=JONAS, headers=as_admin)).json()["user_id"]
        await accept(practice, user)
        assert (await hook("user-change", change(ada[1], email=JONAS["email"]))).status_code == 204
        emails = sorted(one["email"] for one in (await client.get("/v1/users", headers=as_admin)).json()["items"])
        assert emails == ["ada.lund@lindenhof.example", JONAS["email"]]

    async def test_of_somebody_who_is_not_ours_are_taken_and_change_nothing(self, hook: Signed) -> None:
        assert (await hook("user-change", change(str(uuid4())))).status_code == 204

    @pytest.mark.parametrize(
        "body", [{}, {"type": "UPDATE", "table": "users"}, {**change("x"), "table": "sessions"}, change("x", updated_at="never"), []]
    )
    async def test_a_body_that_is_none_is_refused(self, body: Any, hook: Signed) -> None:
        assert (await hook("user-change", body)).status_code == 422


class There:
    """The provider as the reconciliation and the sending duty see it."""

    def __init__(self, *people: PersonThere, invited: InviteAnswer | None = None) -> None:
        self._people = people
        self._invited = invited or InviteAnswer(str(uuid4()))
        self.asked: list[str] = []

    async def people(self) -> AsyncIterator[PersonThere]:
        for person in self._people:
            yield person

    async def person(self, identity: str) -> PersonThere | None:
        return next((person for person in self._people if person.id == identity), None)

    async def invite(self, email: str, name: str) -> InviteAnswer:
        self.asked.append(email)
        return self._invited


def there(identity: str, **fields: Any) -> PersonThere:
    return PersonThere.model_validate(change(identity, **fields)["record"])


class TestReconcile:
    async def test_repairs_what_no_report_told(
        self, work: Work, client: httpx.AsyncClient, ada: tuple[UUID, str], as_admin: Headers, superuser: Any
    ) -> None:
        superuser.execute("DELETE FROM practices.identity WHERE identity <> %s", [ada[1]])
        moved = await reconcile(work, There(there(ada[1], minute=7, email="ada@moved.example")))
        assert [(drift.identity, drift.what) for drift in moved] == [(ada[1], "differed")]
        assert (await client.get("/v1/users", headers=as_admin)).json()["items"][0]["email"] == "ada@moved.example"
        assert await reconcile(work, There(there(ada[1], minute=7, email="ada@moved.example"))) == []

    async def test_ends_the_access_of_who_is_gone(
        self, work: Work, client: httpx.AsyncClient, ada: tuple[UUID, str], as_admin: Headers, superuser: Any
    ) -> None:
        superuser.execute("DELETE FROM practices.identity WHERE identity <> %s", [ada[1]])
        assert [drift.what for drift in await reconcile(work, There())] == ["gone there"]
        assert (await client.get("/v1/me", headers=as_admin)).json()["code"] == "access_ended"

    async def test_sends_an_invitation_nobody_would_ever_send(
        self, work: Work, client: httpx.AsyncClient, as_admin: Headers, practice: UUID, superuser: Any
    ) -> None:
        user = (await client.post("/v1/invitations", json=JONAS, headers=as_admin)).json()["user_id"]
        superuser.execute("DELETE FROM practices.identity")
        superuser.execute("DELETE FROM practices.invitation_due WHERE user_id = %s", [user])
        assert (user, "invitation lost") in [(drift.identity, drift.what) for drift in await reconcile(work, There())]
        assert superuser.execute("SELECT 1 FROM practices.invitation_due WHERE user_id = %s", [user]).fetchone() == (1,)


class TestSending:
    @pytest.fixture
    async def user(self, client: httpx.AsyncClient, as_admin: Headers, superuser: Any) -> str:
        superuser.execute("DELETE FROM practices.invitation_due")
        user: str = (await client.post("/v1/invitations", json=JONAS, headers=as_admin)).json()["user_id"]
        return user

    async def test_asks_the_provider_once_and_knows_the_person_from_then_on(
        self, user: str, work: Work, client: httpx.AsyncClient, as_admin: Headers, hook: Signed, practice: UUID
    ) -> None:
        provider = There(invited=InviteAnswer("jonas-there"))
        assert [await send_due(work, provider), await send_due(work, provider)] == [1, 0]
        (shown,) = (await client.get("/v1/invitations", headers=as_admin)).json()["items"]
        assert (shown["sent_count"], shown["problem"], provider.asked) == (1, None, [JONAS["email"]])
        assert (await hook("access-token", login("jonas-there"))).json()["claims"]["practice_id"] == str(practice)

    async def test_tries_again_later_and_shows_why(
        self, user: str, work: Work, client: httpx.AsyncClient, as_admin: Headers, superuser: Any
    ) -> None:
        assert await send_due(work, There(invited=InviteAnswer(None, "over_email_send_rate_limit"))) == 1
        (shown,) = (await client.get("/v1/invitations", headers=as_admin)).json()["items"]
        assert (shown["sent_count"], shown["problem"]) == (0, "over_email_send_rate_limit")
        assert await send_due(work, There()) == 0
        superuser.execute("UPDATE practices.invitation_due SET due_at = now()")
        assert await send_due(work, There()) == 1

    async def test_sends_nothing_that_was_withdrawn(self, user: str, work: Work, client: httpx.AsyncClient, as_admin: Headers) -> None:
        await client.post(f"/v1/invitations/{user}/revoke", headers=as_admin)
        provider = There()
        await send_due(work, provider)
        assert provider.asked == []

    async def test_a_second_account_of_one_person_changes_the_way_in(self, user: str, work: Work, practice: UUID) -> None:
        async with work(Principal.system("test", practice)) as tx:
            await known_as((practice, UUID(user)), "first", tx)
            await known_as((practice, UUID(user)), "second", tx)
            assert await tx.value("SELECT subject FROM member WHERE id = $1", UUID(user)) == "second"
