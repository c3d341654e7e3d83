"""The Supabase Auth simulator, driven by the provider's own client; plain HTTP only for what that client hides."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from supabase_auth import AsyncGoTrueClient
from supabase_auth._async.gotrue_admin_api import AsyncGoTrueAdminAPI
from supabase_auth.errors import AuthApiError, AuthWeakPasswordError

from libs.common.clock import utc_now
from libs.testing.receiver import Receiver
from libs.testing.simulators.supabase.server import SupabaseSimulator
from libs.testing.simulators.supabase.settings import Settings

BASE = "http://auth.test"
ISSUER = "https://auth.vantage.example/auth/v1"
SITE = "https://console.vantage.example"
ADA = "ada@lindenhof.example"
PASSWORD = "a long password of Ada"
JSON = {"Content-Type": "application/json"}
SECRETS = [f"whsec_{base64.b64encode(bytes([number]) * 32).decode()}" for number in (1, 2)]


def private_key(kid: str, *operations: str) -> dict[str, Any]:
    jwk: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    return {**jwk, "kid": kid, "alg": "ES256", "use": "sig", "key_ops": list(operations)}


KEYS = [private_key("older", "verify"), private_key("current", "sign", "verify")]
ENVIRONMENT = {
    "GOTRUE_JWT_KEYS": json.dumps(KEYS), "GOTRUE_JWT_ISSUER": ISSUER, "GOTRUE_SITE_URL": SITE, "API_EXTERNAL_URL": ISSUER,
    "GOTRUE_JWT_SECRET": "the secret of before, thirty-two bytes", "GOTRUE_MAILER_AUTOCONFIRM": "true",
}  # fmt: skip


class Hands:
    """A clock a test moves."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self.ahead

    def forward(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


class House:
    """A simulator and who talks to it: ``http`` plainly, ``admin`` and any number of ``person`` by the provider's client."""

    def __init__(self, state: Path, hands: Hands, **environment: str) -> None:
        settings = Settings.read({**ENVIRONMENT, **environment})
        self.simulator = SupabaseSimulator(state, settings, now=hands, hook_seconds=0.5, hook_pause=0.01)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.simulator.app()), base_url=BASE)
        claims = {"role": "service_role", "iss": ISSUER, "exp": int(hands().timestamp()) + 10**6}
        self.service = {"Authorization": f"Bearer {self.simulator.keys.sign(claims)}"}
        self.admin = AsyncGoTrueAdminAPI(url=BASE, headers=self.service, http_client=self.http)

    def person(self) -> AsyncGoTrueClient:
        return AsyncGoTrueClient(url=BASE, auto_refresh_token=False, persist_session=False, http_client=self.http)

    async def ada(self) -> AsyncGoTrueClient:
        person = self.person()
        await person.sign_up({"email": ADA, "password": PASSWORD})
        return person

    async def signed_in(self) -> dict[str, Any]:
        answer = await self.http.post("/token?grant_type=password", json={"email": ADA, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def refreshed(self, token: str) -> httpx.Response:
        return await self.http.post("/token?grant_type=refresh_token", json={"refresh_token": token})

    async def mails(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.http.get("/_control/mails")).json()
        return found


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
async def house(tmp_path: Path, hands: Hands) -> AsyncIterator[House]:
    house = House(tmp_path, hands)
    async with house.http:
        yield house


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and error code, which the header repeats."""
    body = answer.json()
    assert set(body) - {"weak_password"} == {"code", "error_code", "msg"}
    assert body["code"] == answer.status_code
    assert answer.headers["x-sb-error-code"] == body["error_code"]
    return answer.status_code, body["error_code"]


def claims_in(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


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
