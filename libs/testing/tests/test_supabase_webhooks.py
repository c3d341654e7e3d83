"""What the Supabase Auth simulator tells others: the access token hook, the database webhook; and that it forgets nothing."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from libs.testing import probe
from libs.testing.receiver import Answer, Received, Receiver
from libs.testing.simulators.supabase.settings import Settings, duration
from libs.testing.tests.auth_house import ADA, ENVIRONMENT, ISSUER, PASSWORD, SECRETS, Hands, House, claims_in, code

JSON = {"Content-Type": "application/json"}
SIGN_IN = {"email": ADA, "password": PASSWORD}


def told(answer: dict[str, Any], status: int = 200) -> Answer:
    return Answer(status, json.dumps(answer).encode(), JSON)


def _length(of: list[Any]) -> Callable[[], Awaitable[int]]:
    async def look() -> int:
        return len(of)

    return look


def with_practice(_: int, received: Received) -> Answer:
    return told({"claims": {**json.loads(received.body)["claims"], "practice_id": "p"}})


class TestTokenHook:
    @pytest.fixture
    def house(self, tmp_path: Path, hands: Hands, receiver: Receiver) -> House:
        receiver.answer = with_practice
        return self.hooked(tmp_path, hands, receiver.url, SECRETS[0])

    def hooked(self, state: Path, hands: Hands, uri: str, *secrets: str, seconds: float = 30.0) -> House:
        prefix = "GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN"
        values = {f"{prefix}_ENABLED": "true", f"{prefix}_URI": uri, f"{prefix}_SECRETS": "|".join(f"v1,{secret}" for secret in secrets)}
        return House(state, hands, hook_seconds=seconds, **values)

    async def sign_in(self, house: House) -> httpx.Response:
        return await house.http.post("/token?grant_type=password", json=SIGN_IN)

    async def test_is_asked_at_every_token_and_its_claims_are_signed(self, house: House, receiver: Receiver) -> None:
        await house.ada()
        answer = (await self.sign_in(house)).json()
        again = (await house.refreshed(answer["refresh_token"])).json()
        await house.admin.invite_user_by_email("jo@mail.example")
        await house.person().verify_otp({"type": "invite", "token_hash": (await house.mails())[0]["token_hash"]})
        asked = [json.loads(request.body) for request in receiver.requests]
        assert [line["authentication_method"] for line in asked] == ["password", "password", "token_refresh", "otp"]
        assert claims_in(again["access_token"])["practice_id"] == "p"
        assert {"metadata", "user_id", "claims", "authentication_method"} == set(asked[0])
        assert {"uuid", "time", "name", "ip_address"} == set(asked[0]["metadata"])
        assert (asked[0]["metadata"]["name"], asked[0]["claims"]["sub"]) == ("customize-access-token", asked[0]["user_id"])
        assert (asked[0]["claims"]["aud"], asked[1]["claims"]["aud"]) == (["authenticated"], "authenticated")

    async def test_is_signed_as_the_standards_library_expects(self, house: House, receiver: Receiver) -> None:
        await house.ada()
        raw, headers = receiver.requests[0]
        assert Webhook(SECRETS[0]).verify(raw, dict(headers))["user_id"]
        assert headers["accept-encoding"] == "identity"

    async def test_two_secrets_sign_twice_joined_by_comma_and_blank(self, tmp_path: Path, hands: Hands, receiver: Receiver) -> None:
        receiver.answer = with_practice
        await self.hooked(tmp_path, hands, receiver.url, *SECRETS).ada()
        raw, headers = receiver.requests[0]
        signatures = headers["webhook-signature"].split(", ")
        assert len(signatures) == 2
        for secret, signature in zip(SECRETS, signatures, strict=True):
            assert Webhook(secret).verify(raw, {**headers, "webhook-signature": signature})

    @pytest.mark.parametrize(
        ("answer", "refusal", "message"),
        [
            (told({"error": {"http_code": 403, "message": "no practice"}}), (403, "unknown"), "no practice"),
            (told({"error": {"message": "broken"}}), (500, "unexpected_failure"), "broken"),
            (told({}), (500, "unexpected_failure"), "output claims field is missing"),
            (told({"claims": None}), (500, "unexpected_failure"), "given: null"),
            (Answer(204), (500, "unexpected_failure"), "given: null"),
            (Answer(200, b"{", JSON), (500, "unexpected_failure"), "Error unmarshaling JSON output."),
            (Answer(200, b"[]", JSON), (500, "unexpected_failure"), "Error unmarshaling JSON output."),
            (Answer(200, b"{}"), (400, "hook_payload_invalid_content_type"), "Missing Content-Type"),
            (Answer(200, b"{}", {"Content-Type": "text/plain"}), (400, "hook_payload_invalid_content_type"), "text/plain"),
            (Answer(200, b" " * 204_801, JSON), (422, "hook_payload_over_size_limit"), "204800 bytes"),
            (told({}, 201), (500, "unexpected_failure"), "Unexpected status code returned from hook: 201"),
            (Answer(500), (500, "unexpected_failure"), "Unexpected status code returned from hook: 500"),
            (Answer(400), (500, "unexpected_failure"), "Invalid payload sent to hook"),
            (Answer(401), (500, "unexpected_failure"), "Hook requires authorization token"),
            (Answer(429), (500, "unexpected_failure"), "Service currently unavailable due to hook"),
        ],
    )
    async def test_its_answer_is_judged_by_the_real_rules_and_asked_for_once(
        self, answer: Answer, refusal: Any, message: str, house: House, receiver: Receiver
    ) -> None:
        await house.ada()
        receiver.requests.clear()
        receiver.answer = lambda _number, _received: answer
        refused = await self.sign_in(house)
        assert code(refused) == refusal
        assert message in refused.json()["msg"]
        assert (len(receiver.requests), len(house.simulator.store.sessions)) == (1, 1)

    async def test_every_missing_claim_and_wrong_type_is_named(self, house: House, receiver: Receiver) -> None:
        await house.ada()
        receiver.answer = lambda _number, _received: told({"claims": {"practice_id": "p", "exp": "soon"}})
        message = (await self.sign_in(house)).json()["msg"]
        required = ("aud", "iat", "sub", "email", "phone", "role", "aal", "session_id", "is_anonymous")
        assert all(f"- (root): {name} is required\n" in message for name in required)
        assert "- exp: Invalid type. Expected: integer, given: string\n" in message

    @pytest.mark.parametrize(
        "make", [lambda claims: told({"claims": claims}, 202), lambda claims: told({"claims": claims, "error": {"message": ""}})]
    )
    async def test_what_counts_as_consent(self, make: Callable[[Any], Answer], house: House, receiver: Receiver) -> None:
        receiver.answer = lambda _number, received: make(json.loads(received.body)["claims"])
        await house.ada()
        assert (await self.sign_in(house)).status_code == 200

    @pytest.mark.parametrize("first", [Answer(0), Answer(503, headers={"Retry-After": "1"}), Answer(429, headers={"Retry-After": "9"})])
    async def test_is_asked_again_with_a_new_id_and_the_same_body(self, first: Answer, house: House, receiver: Receiver) -> None:
        receiver.answer = lambda number, received: first if number < 2 else with_practice(number, received)
        await house.ada()
        assert len({request.headers["webhook-id"] for request in receiver.requests}) == 3
        assert len({request.body for request in receiver.requests}) == 1

    @pytest.mark.parametrize(
        ("answer", "tries", "refusal"),
        [
            (Answer(0), 3, (422, "hook_timeout_after_retry")),
            (Answer(503, headers={"Retry-After": "1"}), 3, (500, "unexpected_failure")),
        ],
    )
    async def test_is_given_up(self, answer: Answer, tries: int, refusal: Any, house: House, receiver: Receiver) -> None:
        await house.ada()
        receiver.requests.clear()
        receiver.answer = lambda _number, _received: answer
        assert code(await self.sign_in(house)) == refusal
        assert len(receiver.requests) == tries

    async def test_has_only_so_much_time_in_all(self, tmp_path: Path, hands: Hands, receiver: Receiver) -> None:
        receiver.answer = lambda _number, _received: Answer(-1)
        hurried = self.hooked(tmp_path, hands, receiver.url, SECRETS[0], seconds=0.2)
        answer = await hurried.http.post("/signup", json=SIGN_IN)
        assert code(answer) == (422, "hook_timeout")
        assert answer.json()["msg"] == "Failed to reach hook within maximum time of 0.200000 seconds"
        assert len(hurried.simulator.store.users) == 1

    async def test_two_who_refresh_at_once_get_the_same_successor(self, house: House) -> None:
        await house.ada()
        token = (await self.sign_in(house)).json()["refresh_token"]
        answers = await asyncio.gather(house.refreshed(token), house.refreshed(token))
        assert len({answer.json()["refresh_token"] for answer in answers} - {token}) == 1

    async def test_what_an_administrator_changes_while_it_thinks_is_kept(self, house: House, receiver: Receiver) -> None:
        await house.ada()
        user = (await house.admin.list_users())[0]
        changed = threading.Event()

        def slowly(number: int, received: Received) -> Answer:
            changed.wait(30)
            return with_practice(number, received)

        receiver.answer = slowly
        before = len(receiver.requests)
        signing_in = asyncio.create_task(self.sign_in(house))
        await probe.until_async(_length(receiver.requests), lambda seen: seen > before, what="the hook's call")
        await house.admin.update_user_by_id(user.id, {"app_metadata": {"vantage_role": "doctor"}})
        changed.set()
        assert (await signing_in).status_code == 200
        after = (await house.admin.get_user_by_id(user.id)).user
        assert after.app_metadata["vantage_role"] == "doctor"
        assert after.last_sign_in_at != user.last_sign_in_at

    async def test_where_it_refuses_an_invitation_the_link_is_still_good(self, house: House, receiver: Receiver) -> None:
        await house.admin.invite_user_by_email(ADA)
        body = {"type": "invite", "token_hash": (await house.mails())[0]["token_hash"]}
        receiver.answer = lambda _number, _received: Answer(500)
        assert code(await house.http.post("/verify", json=body))[0] == 500
        receiver.answer = with_practice
        assert (await house.http.post("/verify", json=body)).status_code == 200


class TestUserWebhook:
    @pytest.fixture
    async def told(self, house: House, receiver: Receiver) -> Callable[[int], Any]:
        """What arrived, once it is as much as expected; each verified by the standard's library."""
        await house.http.post("/_control/user_webhook", json={"url": receiver.url, "secret": SECRETS[1]})

        async def look(number: int) -> list[dict[str, Any]]:
            await probe.until_async(_length(receiver.requests), lambda seen: seen == number, what=f"{number} webhooks")
            return [Webhook(SECRETS[1]).verify(raw, dict(headers)) for raw, headers in receiver.requests]

        return look

    async def test_tells_every_change_of_a_user_once(self, house: House, receiver: Receiver, told: Any) -> None:
        made = (await house.admin.create_user({"email": ADA, "app_metadata": {"vantage_role": "staff"}})).user
        await told(1)
        await house.admin.update_user_by_id(made.id, {"app_metadata": {"vantage_role": "doctor"}})
        await told(2)
        receiver.answer = lambda _number, _received: Answer(500)
        await house.admin.delete_user(made.id)
        created, changed, gone = await told(3)
        assert [line["type"] for line in (created, changed, gone)] == ["INSERT", "UPDATE", "DELETE"]
        assert {(line["schema"], line["table"]) for line in (created, changed, gone)} == {("auth", "users")}
        assert (created["old_record"], gone["record"]) == (None, None)
        assert (created["record"], changed["record"]) == (changed["old_record"], gone["old_record"])
        assert changed["record"]["raw_app_meta_data"]["vantage_role"] == "doctor"
        assert changed["record"]["updated_at"] > created["record"]["updated_at"]
        assert not {"encrypted_password", "confirmation_token", "recovery_token"} & set(changed["record"])
        assert len({request.headers["webhook-id"] for request in receiver.requests}) == 3

    async def test_tells_nothing_when_nothing_has_changed(self, house: House, receiver: Receiver, told: Any) -> None:
        made = (await house.admin.create_user({"email": ADA, "email_confirm": True})).user
        await told(1)
        await house.admin.update_user_by_id(made.id, {"app_metadata": {"provider": "email"}})
        await house.admin.delete_user(made.id)
        assert [line["type"] for line in await told(2)] == ["INSERT", "DELETE"]

    async def test_tells_again_and_backwards_on_request(self, house: House, receiver: Receiver, told: Any) -> None:
        made = (await house.admin.create_user({"email": ADA})).user
        await told(1)
        await house.admin.update_user_by_id(made.id, {"user_metadata": {"name": "Ada"}})
        await told(2)
        again = await house.http.post("/_control/user_webhook/resend", json={"user_id": made.id, "times": 2, "order": "reversed"})
        assert again.json() == {"statuses": [204] * 4}
        kinds = [line["type"] for line in await told(6)]
        assert kinds[2:] == ["UPDATE", "INSERT"] * 2
        assert len({request.headers["webhook-id"] for request in receiver.requests}) == 2
        once = await house.http.post("/_control/user_webhook/resend", json={"user_id": made.id})
        assert once.json() == {"statuses": [204] * 2}

    async def test_nobody_listening_disturbs_nothing(self, house: House, receiver: Receiver, told: Any) -> None:
        await house.http.post("/_control/user_webhook", json={"url": "http://127.0.0.1:1/", "secret": SECRETS[1]})
        made = (await house.admin.create_user({"email": ADA})).user
        again = await house.http.post("/_control/user_webhook/resend", json={"user_id": made.id})
        assert again.json() == {"statuses": [None]}


class TestOtherPaths:
    async def test_says_what_it_is(self, house: House) -> None:
        assert (await house.http.get("/health")).json()["name"] == "GoTrue"
        assert (await house.http.get("/settings")).json()["external"]["email"] is True
        found = (await house.http.get("/.well-known/openid-configuration")).json()
        assert (found["issuer"], found["jwks_uri"]) == (ISSUER, f"{ISSUER}/.well-known/jwks.json")
        nothing = await house.http.get("/nothing")
        assert (nothing.status_code, nothing.headers["content-type"].partition(";")[0]) == (404, "text/plain")

    @pytest.mark.parametrize("query", ["", "?grant_type=magic"])
    async def test_refuses_other_grants_in_the_words_of_oauth(self, query: str, house: House) -> None:
        answer = await house.http.post(f"/token{query}", json={})
        assert (answer.status_code, answer.json()) == (400, {"error": "unsupported_grant_type"})

    async def test_refuses_what_it_does_not_simulate(self, house: House) -> None:
        await house.ada()
        bearer = {"Authorization": f"Bearer {(await house.signed_in())['access_token']}"}
        for method, path, body in (
            ("POST", "/token?grant_type=pkce", {}), ("POST", "/recover", {"email": ADA, "code_challenge": "x"}),
            ("PUT", "/user", {"email": "other@mail.example"}), ("POST", "/otp", {"email": "jo@mail.example"}),
        ):  # fmt: skip
            assert code(await house.http.request(method, path, json=body, headers=bearer)) == (501, "not_simulated")

    async def test_fails_as_planned_and_records_what_it_accepted(self, house: House) -> None:
        await house.http.post("/_control/faults", json={"kind": "status", "status": 503})
        assert (await house.http.post("/signup", json=SIGN_IN)).status_code == 503
        assert (await house.http.post("/signup", json=SIGN_IN)).status_code == 200
        lines = (await house.http.get("/_control/accepted")).json()
        assert [(line["method"], line["path"], line["status"]) for line in lines] == [("POST", "/signup", 200)]


class TestStart:
    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"GOTRUE_SITE_URL": ""}, "GOTRUE_SITE_URL"),
            ({"API_EXTERNAL_URL": ""}, "API_EXTERNAL_URL"),
            ({"GOTRUE_JWT_KEYS": "", "GOTRUE_JWT_SECRET": ""}, "GOTRUE_JWT_SECRET"),
            ({"GOTRUE_JWT_KEYS": '[{"kty": "EC", "key_ops": ["verify"]}]'}, "exactly one key"),
            ({"GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_URI": "http://practices:8000/hook"}, "_URI must be https"),
            ({"GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_SECRETS": SECRETS[0]}, "_SECRETS must be"),
            ({"GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_SECRETS": ""}, "_SECRETS must be"),
            ({"GOTRUE_SMTP_MAX_FREQUENCY": "a minute"}, "invalid duration"),
        ],
    )
    def test_refuses_an_environment_the_real_server_would_not_start_with(self, changes: dict[str, str], named: str) -> None:
        hook = {"ENABLED": "true", "URI": "https://hooks.vantage.example/token", "SECRETS": f"v1,{SECRETS[0]}"}
        good = {**ENVIRONMENT, **{f"GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_{name}": value for name, value in hook.items()}}
        assert Settings.read(good).hook is not None
        with pytest.raises(ValueError, match=named):
            Settings.read({**good, **changes})

    @pytest.mark.parametrize(("text", "seconds"), [("24h", 86400), ("1h30m", 5400), ("1.5s", 1.5), ("250ms", 0.25)])
    def test_reads_durations_as_go_writes_them(self, text: str, seconds: float) -> None:
        assert duration(text).total_seconds() == seconds

    @pytest.fixture
    def start(self, tmp_path: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[bytes], str]]]:
        started: list[subprocess.Popen[bytes]] = []

        def process() -> tuple[subprocess.Popen[bytes], str]:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            command = [sys.executable, "-m", "libs.testing.simulators.supabase", "--port", str(port), "--state", str(tmp_path)]
            started.append(subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}))
            base = f"http://127.0.0.1:{port}"
            probe.until(lambda: _answers(f"{base}/_control/health"), what="the simulator")
            return started[-1], base

        yield process
        for one in started:
            one.kill()
            one.wait()

    def test_killed_it_remembers_users_sessions_and_mails(self, start: Any) -> None:
        first, base = start()
        answer = httpx.post(f"{base}/signup", json=SIGN_IN, trust_env=False).json()
        httpx.post(f"{base}/recover", json={"email": ADA}, trust_env=False)
        first.kill()
        first.wait()
        _, base = start()
        bearer = {"Authorization": f"Bearer {answer['access_token']}"}
        assert httpx.get(f"{base}/user", headers=bearer, trust_env=False).json()["id"] == answer["user"]["id"]
        refresh = {"refresh_token": answer["refresh_token"]}
        assert httpx.post(f"{base}/token?grant_type=refresh_token", json=refresh, trust_env=False).status_code == 200
        assert [mail["type"] for mail in httpx.get(f"{base}/_control/mails", trust_env=False).json()] == ["recovery"]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
