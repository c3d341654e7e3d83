"""The Supabase Auth simulator, driven by the provider's own client; plain HTTP only for what that client hides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import jwt
import pytest
from supabase_auth.errors import AuthApiError, AuthWeakPasswordError

from libs.common.tokens import Issuer, KeySet, TokenVerifier
from libs.testing.tests.auth_house import ADA, BASE, ENVIRONMENT, ISSUER, PASSWORD, SITE, Hands, House, claims_in, code


class TestPasswords:
    async def test_a_sign_up_is_a_session_and_the_account_answers(self, house: House) -> None:
        person = house.person()
        answer = await person.sign_up({"email": "Ada@Lindenhof.example", "password": PASSWORD, "options": {"data": {"name": "Ada"}}})
        assert answer.user is not None
        assert answer.session is not None
        assert (answer.user.email, answer.user.user_metadata["name"], answer.session.expires_in) == (ADA, "Ada", 3600)
        assert answer.user.app_metadata == {"provider": "email", "providers": ["email"]}
        found = await person.get_user()
        assert found is not None
        assert found.user.id == answer.user.id

    async def test_signing_in_answers_what_the_real_one_answers(self, house: House) -> None:
        await house.ada()
        answer = await house.signed_in()
        assert set(answer) == {
            "access_token", "token_type", "expires_in", "expires_at", "refresh_token", "user", "weak_password",
        }  # fmt: skip
        assert (answer["token_type"], len(answer["refresh_token"]), answer["weak_password"]) == ("bearer", 12, None)
        claims = claims_in(answer["access_token"])
        assert set(claims) == {
            "aal", "amr", "app_metadata", "aud", "email", "exp", "iat", "is_anonymous", "iss", "phone", "role", "session_id", "sub",
            "user_metadata",
        }  # fmt: skip
        assert (claims["iss"], claims["amr"][0]["method"], claims["exp"]) == (ISSUER, "password", answer["expires_at"])

    async def test_the_audience_is_a_list_in_the_first_token_only(self, house: House) -> None:
        session = await (await house.ada()).get_session()
        assert session is not None
        assert claims_in(session.access_token)["aud"] == ["authenticated"]
        assert claims_in((await house.signed_in())["access_token"])["aud"] == "authenticated"

    @pytest.mark.parametrize(
        ("body", "refusal"),
        [
            ({"email": ADA, "password": PASSWORD}, (422, "user_already_exists")),
            ({"email": "jo@mail.example", "password": "five5"}, (422, "weak_password")),
            ({"email": "not an address", "password": PASSWORD}, (400, "validation_failed")),
            ({"email": "jo@mail.example"}, (400, "validation_failed")),
            ({}, (422, "anonymous_provider_disabled")),
            ({"email": 5}, (400, "bad_json")),
        ],
    )
    async def test_refuses_to_sign_up_as_the_real_one_does(self, body: Any, refusal: Any, house: House) -> None:
        await house.ada()
        assert code(await house.http.post("/signup", json=body)) == refusal

    @pytest.mark.parametrize(
        ("body", "refusal"),
        [
            ({"email": ADA, "password": "wrong"}, (400, "invalid_credentials")),
            ({"email": "nobody@mail.example", "password": PASSWORD}, (400, "invalid_credentials")),
            ({"password": PASSWORD}, (400, "validation_failed")),
        ],
    )
    async def test_refuses_to_sign_in_as_the_real_one_does(self, body: Any, refusal: Any, house: House) -> None:
        await house.ada()
        assert code(await house.http.post("/token?grant_type=password", json=body)) == refusal

    async def test_the_providers_client_knows_the_errors_by_class_and_code(self, house: House) -> None:
        person = await house.ada()
        with pytest.raises(AuthApiError) as wrong:
            await person.sign_in_with_password({"email": ADA, "password": "wrong"})
        assert (wrong.value.status, wrong.value.code, wrong.value.message) == (400, "invalid_credentials", "Invalid login credentials")
        with pytest.raises(AuthWeakPasswordError) as weak:
            await house.person().sign_up({"email": "jo@mail.example", "password": "five5"})
        assert (weak.value.reasons, weak.value.message) == (["length"], "Password should be at least 6 characters.")

    async def test_the_shape_of_an_error_follows_the_version_asked_for(self, house: House) -> None:
        await house.ada()
        body = {"email": ADA, "password": PASSWORD}
        new = await house.http.post("/signup", json=body, headers={"X-Supabase-Api-Version": "2024-01-01"})
        assert new.json() == {"code": "user_already_exists", "message": "User already registered"}
        assert new.headers["x-supabase-api-version"] == "2024-01-01"
        for version in ("2023-01-01", "soon"):
            old = await house.http.post("/signup", json=body, headers={"X-Supabase-Api-Version": version})
            assert old.json() == {"code": 422, "error_code": "user_already_exists", "msg": "User already registered"}

    async def test_required_characters_are_required_and_older_passwords_still_let_in(
        self, house: House, tmp_path: Path, hands: Hands
    ) -> None:
        await house.ada()
        strict = House(tmp_path, hands, GOTRUE_PASSWORD_REQUIRED_CHARACTERS="abc:0123456789", GOTRUE_PASSWORD_MIN_LENGTH="12")
        refused = await strict.http.post("/signup", json={"email": "jo@mail.example", "password": "xyz"})
        assert refused.json()["weak_password"] == {"reasons": ["length", "characters"]}
        assert (await strict.signed_in())["weak_password"]["reasons"] == ["characters"]

    async def test_a_new_password_is_another_one_and_ends_the_other_sessions(self, house: House) -> None:
        person = await house.ada()
        other = await house.signed_in()
        with pytest.raises(AuthApiError, match="different from the old") as same:
            await person.update_user({"password": PASSWORD})
        assert same.value.code == "same_password"
        await person.update_user({"password": "another long password"})
        assert (await person.get_user()) is not None
        ended = await house.http.get("/user", headers={"Authorization": f"Bearer {other['access_token']}"})
        assert code(ended) == (403, "session_not_found")

    async def test_a_user_changes_user_metadata_and_not_app_metadata(self, house: House) -> None:
        person = await house.ada()
        changed = await person.update_user({"data": {"name": "Ada", "email_verified": None}})
        assert changed.user.user_metadata["name"] == "Ada"
        assert "email_verified" not in changed.user.user_metadata
        session = await person.get_session()
        assert session is not None
        bearer = {"Authorization": f"Bearer {session.access_token}"}
        assert code(await house.http.put("/user", json={"app_metadata": {"role": "x"}}, headers=bearer)) == (403, "not_admin")

    async def test_no_sign_up_where_it_is_disabled_but_invitations(self, tmp_path: Path, hands: Hands) -> None:
        closed = House(tmp_path, hands, GOTRUE_DISABLE_SIGNUP="true")
        assert code(await closed.http.post("/signup", json={"email": ADA, "password": PASSWORD})) == (422, "signup_disabled")
        assert (await closed.admin.invite_user_by_email(ADA)).user.email == ADA


class TestSessions:
    async def test_a_refresh_gives_the_next_token_and_keeps_the_session(self, house: House) -> None:
        person = await house.ada()
        before = await person.get_session()
        after = (await person.refresh_session()).session
        assert before is not None
        assert after is not None
        assert after.refresh_token != before.refresh_token
        old, new = claims_in(before.access_token), claims_in(after.access_token)
        assert (new["session_id"], new["amr"]) == (old["session_id"], old["amr"])

    async def test_the_parent_of_the_newest_token_is_good_at_any_time_and_older_ones_only_for_ten_seconds(
        self, house: House, hands: Hands
    ) -> None:
        await house.ada()
        first = (await house.signed_in())["refresh_token"]
        second = (await house.refreshed(first)).json()["refresh_token"]
        hands.forward(11)
        assert (await house.refreshed(first)).json()["refresh_token"] == second
        third = (await house.refreshed(second)).json()["refresh_token"]
        assert (await house.refreshed(third)).status_code == 200
        hands.forward(11)
        assert code(await house.refreshed(first)) == (400, "refresh_token_already_used")
        assert code(await house.refreshed(third)) == (400, "refresh_token_already_used")

    async def test_an_older_token_within_the_interval_starts_a_branch(self, house: House) -> None:
        await house.ada()
        first = (await house.signed_in())["refresh_token"]
        second = (await house.refreshed(first)).json()["refresh_token"]
        await house.refreshed(second)
        assert (await house.refreshed(first)).status_code == 200

    async def test_unknown_tokens_and_those_of_ended_sessions_are_refused(self, house: House) -> None:
        person = await house.ada()
        token = (await house.signed_in())["refresh_token"]
        assert code(await house.refreshed("abcdefghijkl")) == (400, "validation_failed")
        await person.sign_out()
        assert code(await house.refreshed(token)) == (400, "refresh_token_not_found")

    @pytest.mark.parametrize(("scope", "left"), [("global", (403, 403)), ("local", (403, 200)), ("others", (200, 403))])
    async def test_logging_out_ends_the_sessions_it_says(self, scope: str, left: tuple[int, int], house: House) -> None:
        await house.ada()
        tokens = [(await house.signed_in())["access_token"] for _ in range(2)]
        bearers = [{"Authorization": f"Bearer {token}"} for token in tokens]
        assert (await house.http.post(f"/logout?scope={scope}", headers=bearers[0])).status_code == 204
        assert tuple([(await house.http.get("/user", headers=bearer)).status_code for bearer in bearers]) == left

    async def test_says_what_is_wrong_with_a_token(self, house: House) -> None:
        assert code(await house.http.get("/user")) == (401, "no_authorization")
        await house.ada()
        good = claims_in((await house.signed_in())["access_token"])
        stranger = jwt.encode(good, "the secret of before, thirty-two bytes", "HS256")
        wrongs = [
            {"claims": {**good, "exp": 1}}, {"claims": {**good, "nbf": good["exp"]}}, {"claims": good, "header": {"kid": "nobody"}},
            {"claims": good, "header": {"kid": "older"}}, {"claims": good, "header": {"alg": "none"}}, {"claims": {"role": "anon"}},
        ]  # fmt: skip
        made = [(await house.http.post("/_control/token", json=wrong)).json()["token"] for wrong in wrongs]
        for token in [*made, stranger, "x", "x.y.z"]:
            assert code(await house.http.get("/user", headers={"Authorization": f"Bearer {token}"})) == (403, "bad_jwt"), token
        fine = (await house.http.post("/_control/token", json={"claims": good})).json()["token"]
        assert (await house.http.get("/user", headers={"Authorization": f"Bearer {fine}"})).status_code == 200

    async def test_a_banned_user_stays_out_until_the_ban_ends(self, house: House, hands: Hands) -> None:
        person = await house.ada()
        session = await person.get_session()
        assert session is not None
        assert session.user is not None
        banned = await house.admin.update_user_by_id(session.user.id, {"ban_duration": "24h"})
        assert banned.user.banned_until is not None
        body = {"email": ADA, "password": PASSWORD}
        assert code(await house.http.post("/token?grant_type=password", json=body)) == (400, "user_banned")
        assert code(await house.refreshed(session.refresh_token)) == (400, "user_banned")
        assert (await person.get_user(session.access_token)) is not None
        hands.forward(24 * 3600 + 1)
        await house.signed_in()
        await house.admin.update_user_by_id(session.user.id, {"ban_duration": "1h30m"})
        await house.admin.update_user_by_id(session.user.id, {"ban_duration": "none"})
        await house.signed_in()


class TestMails:
    @pytest.fixture
    async def house(self, tmp_path: Path, hands: Hands) -> AsyncIterator[House]:
        """Here addresses must be confirmed."""
        house = House(tmp_path, hands, GOTRUE_MAILER_AUTOCONFIRM="false", GOTRUE_URI_ALLOW_LIST="https://*.vantage.example/**")
        async with house.http:
            yield house

    async def test_an_address_is_confirmed_by_the_code_of_its_mail(self, house: House) -> None:
        person = house.person()
        answer = await person.sign_up({"email": ADA, "password": PASSWORD})
        assert answer.session is None
        body = {"email": ADA, "password": PASSWORD}
        assert code(await house.http.post("/token?grant_type=password", json=body)) == (400, "email_not_confirmed")
        (mail,) = await house.mails()
        assert (mail["to"], mail["type"], mail["redirect_to"]) == (ADA, "signup", SITE)
        assert mail["link"] == f"{ISSUER}/verify?token={mail['token_hash']}&type=signup&redirect_to={SITE}"
        confirmed = await person.verify_otp({"type": "email", "email": ADA, "token": mail["otp"]})
        assert confirmed.user is not None
        assert confirmed.user.email_confirmed_at is not None
        assert confirmed.user.user_metadata["email_verified"] is True
        with pytest.raises(AuthApiError) as again:
            await person.verify_otp({"type": "signup", "email": ADA, "token": mail["otp"]})
        assert (again.value.status, again.value.code) == (403, "otp_expired")

    async def test_who_signs_up_with_a_taken_address_learns_nothing(self, house: House) -> None:
        await house.admin.create_user({"email": ADA, "password": PASSWORD, "email_confirm": True})
        answer = await house.person().sign_up({"email": ADA, "password": PASSWORD})
        assert answer.user is not None
        assert answer.user.id not in house.simulator.store.users
        assert await house.mails() == []

    async def test_a_forgotten_password_is_mailed_about_once_a_minute_and_never_tells_who_has_an_account(
        self, house: House, hands: Hands
    ) -> None:
        await house.admin.create_user({"email": ADA, "password": PASSWORD, "email_confirm": True})
        person = house.person()
        await person.reset_password_for_email("nobody@mail.example")
        assert await house.mails() == []
        await person.reset_password_for_email(ADA, {"redirect_to": "https://console.vantage.example/new"})
        refused = await house.http.post("/recover", json={"email": ADA})
        assert code(refused) == (429, "over_email_send_rate_limit")
        assert "retry-after" not in refused.headers
        hands.forward(61)
        assert (await house.http.post("/recover", json={"email": ADA})).json() == {}
        first, second = await house.mails()
        assert (first["type"], first["redirect_to"]) == ("recovery", "https://console.vantage.example/new")
        with pytest.raises(AuthApiError, match="invalid or has expired"):
            await person.verify_otp({"type": "recovery", "token_hash": first["token_hash"]})
        assert (await person.verify_otp({"type": "recovery", "token_hash": second["token_hash"]})).session is not None
        await person.update_user({"password": "another long password"})

    async def test_an_invitation_is_accepted_by_a_click_and_a_password_set(self, house: House) -> None:
        invited = (await house.admin.invite_user_by_email(ADA, {"data": {"name": "Ada"}})).user
        assert (invited.user_metadata, invited.email_confirmed_at) == ({"name": "Ada"}, None)
        assert invited.invited_at is not None
        await house.admin.invite_user_by_email(ADA, {"data": {"name": "Nobody"}, "redirect_to": "https://console.vantage.example/join"})
        old, mail = await house.mails()
        assert (mail["type"], mail["token_hash"] != old["token_hash"]) == ("invite", True)
        clicked = await house.http.get(mail["link"].removeprefix(ISSUER))
        target = urlsplit(clicked.headers["location"])
        told = {name: values[0] for name, values in parse_qs(target.fragment).items()}
        assert (clicked.status_code, target.hostname, target.path, told["type"]) == (303, "console.vantage.example", "/join", "invite")
        person = house.person()
        await person.set_session(told["access_token"], told["refresh_token"])
        await person.update_user({"password": PASSWORD})
        user = (await person.sign_in_with_password({"email": ADA, "password": PASSWORD})).user
        assert user is not None
        assert user.user_metadata == {"name": "Ada", "email_verified": True}
        with pytest.raises(AuthApiError) as exists:
            await house.admin.invite_user_by_email(ADA)
        assert (exists.value.status, exists.value.code) == (422, "email_exists")

    async def test_a_click_on_a_used_link_tells_the_site_why_not(self, house: House) -> None:
        clicked = await house.http.get("/verify", params={"type": "invite", "token": "used", "redirect_to": "https://evil.example/"})
        assert clicked.headers["location"] == (
            f"{SITE}#error=access_denied&error_code=otp_expired&error_description=Email+link+is+invalid+or+has+expired&sb="
        )

    async def test_a_token_lasts_a_day(self, house: House, hands: Hands) -> None:
        await house.admin.invite_user_by_email(ADA)
        hands.forward(24 * 3600 + 1)
        body = {"type": "invite", "token_hash": (await house.mails())[0]["token_hash"]}
        assert code(await house.http.post("/verify", json=body)) == (403, "otp_expired")

    @pytest.mark.parametrize(
        "body",
        [
            {"token_hash": "x"}, {"type": "invite"}, {"type": "invite", "token": "1", "token_hash": "x"}, {"type": "invite", "token": "1"},
            {"type": "invite", "token_hash": "x", "email": ADA}, {"type": "sometimes", "token_hash": "x"},
        ],
    )  # fmt: skip
    async def test_refuses_to_verify_what_the_real_one_refuses(self, body: Any, house: House) -> None:
        assert code(await house.http.post("/verify", json=body)) == (400, "validation_failed")

    async def test_links_are_generated_without_a_mail(self, house: House) -> None:
        made = await house.admin.generate_link(
            {"type": "invite", "email": ADA, "options": {"redirect_to": "https://a.vantage.example/x?y=1"}}
        )
        assert (made.user.email, made.properties.verification_type, await house.mails()) == (ADA, "invite", [])
        assert made.properties.action_link.endswith(
            f"?token={made.properties.hashed_token}&type=invite&redirect_to=" + "https%3A%2F%2Fa.vantage.example%2Fx%3Fy%3D1"
        )
        person = house.person()
        assert (await person.verify_otp({"type": "invite", "email": ADA, "token": made.properties.email_otp})).session is not None
        magic = await house.admin.generate_link({"type": "magiclink", "email": ADA})
        assert (await person.verify_otp({"type": "magiclink", "token_hash": magic.properties.hashed_token})).session is not None
        stranger = await house.admin.generate_link({"type": "magiclink", "email": "jo@mail.example"})
        assert stranger.properties.verification_type == "signup"
        for kind, email, refusal in (
            ("recovery", "no@mail.example", "user_not_found"),
            ("invite", ADA, "email_exists"),
            ("signup", ADA, "email_exists"),
        ):
            body = {"type": kind, "email": email, "password": PASSWORD}
            assert code(await house.http.post("/admin/generate_link", json=body, headers=house.service))[1] == refusal

    async def test_a_magic_link_is_mailed_to_a_user(self, house: House) -> None:
        await house.admin.create_user({"email": ADA, "email_confirm": True})
        await house.person().sign_in_with_otp({"email": ADA, "options": {"should_create_user": False}})
        assert [mail["type"] for mail in await house.mails()] == ["magiclink"]


class TestAdministration:
    async def test_a_user_is_created_found_changed_and_deleted(self, house: House) -> None:
        wanted = str(uuid4())
        made = await house.admin.create_user({
            "id": wanted, "email": "Ada@Lindenhof.example", "password": PASSWORD, "email_confirm": True, "user_metadata": {"name": "Ada"},
            "app_metadata": {"practice_id": "p", "old": 1},
        })  # fmt: skip
        assert (made.user.id, made.user.email, made.user.app_metadata["practice_id"]) == (wanted, ADA, "p")
        assert (await house.admin.get_user_by_id(wanted)).user == made.user
        changed = await house.admin.update_user_by_id(
            wanted, {"app_metadata": {"old": None, "new": 2}, "email": "ada.kim@lindenhof.example"}
        )
        assert changed.user.app_metadata == {"provider": "email", "providers": ["email"], "practice_id": "p", "new": 2}
        assert changed.user.email == "ada.kim@lindenhof.example"
        gone = await house.http.request("DELETE", f"/admin/users/{wanted}", headers=house.service)
        assert (gone.status_code, gone.json()) == (200, {})
        with pytest.raises(AuthApiError) as missing:
            await house.admin.get_user_by_id(wanted)
        assert (missing.value.status, missing.value.code) == (404, "user_not_found")

    async def test_a_user_softly_deleted_is_there_and_nobody(self, house: House) -> None:
        person = await house.ada()
        user = (await house.admin.list_users())[0]
        await house.admin.delete_user(user.id, should_soft_delete=True)
        left = (await house.admin.get_user_by_id(user.id)).user
        assert left.deleted_at is not None
        assert left.email != ADA
        with pytest.raises(AuthApiError):
            await person.sign_in_with_password({"email": ADA, "password": PASSWORD})
        await house.ada()

    @pytest.mark.parametrize(
        ("body", "refusal"),
        [
            ({"email": ADA}, (422, "email_exists")),
            ({}, (400, "validation_failed")),
            ({"email": "jo@mail.example", "ban_duration": "a while"}, (400, "validation_failed")),
            ({"email": "jo@mail.example", "id": "7"}, (400, "validation_failed")),
            ({"email": "jo@mail.example", "password": "five5"}, (422, "weak_password")),
            ({"email": "jo@mail.example", "password_hash": "$2y$10$x"}, (501, "not_simulated")),
        ],
    )
    async def test_refuses_to_create_what_the_real_one_refuses(self, body: Any, refusal: Any, house: House) -> None:
        await house.ada()
        assert code(await house.http.post("/admin/users", json=body, headers=house.service)) == refusal

    async def test_is_for_tokens_of_an_admin_role(self, house: House) -> None:
        await house.ada()
        person = {"Authorization": f"Bearer {(await house.signed_in())['access_token']}"}
        for method, path in (("GET", "/admin/users"), ("POST", "/admin/users"), ("POST", "/invite"), ("DELETE", f"/admin/users/{uuid4()}")):
            assert code(await house.http.request(method, path, json={}, headers=person)) == (403, "not_admin")
            assert code(await house.http.request(method, path, json={})) == (401, "no_authorization")

    async def test_users_are_listed_by_page_newest_first(self, house: House) -> None:
        for number in range(5):
            await house.admin.create_user({"email": f"user{number}@mail.example"})
        page = await house.admin.list_users(page=2, per_page=2)
        assert [user.email for user in page] == ["user2@mail.example", "user1@mail.example"]
        answer = await house.http.get("/admin/users?page=2&per_page=2", headers=house.service)
        assert answer.json()["aud"] == "authenticated"
        assert answer.headers["x-total-count"] == "5"
        assert answer.headers["link"] == '</admin/users?page=3&per_page=2>; rel="next", </admin/users?page=3&per_page=2>; rel="last"'
        assert [user.email for user in await house.admin.list_users(page=4, per_page=2)] == []
        assert len((await house.http.get("/admin/users?filter=user3", headers=house.service)).json()["users"]) == 1
        for wrong in ("page=x", "per_page=0"):
            assert code(await house.http.get(f"/admin/users?{wrong}", headers=house.service)) == (400, "validation_failed")


class TestKeys:
    async def test_publishes_public_halves_and_our_doors_believe_its_tokens(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = await house.http.get("/.well-known/jwks.json")
        assert answer.headers["cache-control"] == "public, max-age=600"
        assert [key["kid"] for key in answer.json()["keys"]] == ["older", "current"]
        assert all("d" not in key and key["key_ops"] == ["verify"] for key in answer.json()["keys"])
        practice = uuid4()
        claims = {
            **claims_in(await self.some_token(house)),
            "practice_id": str(practice),
            "app_metadata": {"vantage_role": "practice_admin"},
        }
        token = (await house.http.post("/_control/token", json={"claims": claims})).json()["token"]
        published = httpx.MockTransport(lambda _: httpx.Response(200, json=answer.json()))
        real = httpx.AsyncClient
        monkeypatch.setattr(httpx, "AsyncClient", lambda **options: real(transport=published, **options))
        verifier = TokenVerifier(Issuer(ISSUER, "authenticated", "ES256", KeySet(f"{BASE}/jwks", "ES256")))
        assert (await verifier.claims(f"Bearer {token}"))["practice_id"] == str(practice)

    async def some_token(self, house: House) -> str:
        await house.ada()
        found: str = (await house.signed_in())["access_token"]
        return found

    async def kid_of_a_token(self, house: House) -> str:
        return str(jwt.get_unverified_header((await house.signed_in())["access_token"])["kid"])

    async def test_after_rotation_the_new_key_signs_and_the_old_one_is_believed_until_revoked(self, house: House, tmp_path: Path) -> None:
        old = {"Authorization": f"Bearer {await self.some_token(house)}"}
        kid = (await house.http.post("/_control/rotate")).json()["kid"]
        assert await self.kid_of_a_token(house) == kid
        assert len((await house.http.get("/.well-known/jwks.json")).json()["keys"]) == 3
        assert (await house.http.get("/user", headers=old)).status_code == 200
        assert (await house.http.post("/_control/revoke", json={"kid": "current"})).status_code == 200
        assert code(await house.http.get("/user", headers=old)) == (403, "bad_jwt")
        for wrong in (kid, "nobody"):
            assert (await house.http.post("/_control/revoke", json={"kid": wrong})).status_code == 409
        again = House(tmp_path, Hands())
        assert [key["kid"] for key in (await again.http.get("/.well-known/jwks.json")).json()["keys"]] == ["older", kid]
        assert await self.kid_of_a_token(again) == kid

    async def test_without_keys_the_secret_signs_and_nothing_is_published(self, tmp_path: Path, hands: Hands) -> None:
        house = House(tmp_path, hands, GOTRUE_JWT_KEYS="")
        token = await self.some_token(house)
        assert jwt.decode(token, ENVIRONMENT["GOTRUE_JWT_SECRET"], ["HS256"], audience="authenticated")["iss"] == ISSUER
        assert "kid" not in jwt.get_unverified_header(token)
        assert (await house.http.get("/.well-known/jwks.json")).json() == {"keys": []}
        assert (await house.http.get("/user", headers={"Authorization": f"Bearer {token}"})).status_code == 200
