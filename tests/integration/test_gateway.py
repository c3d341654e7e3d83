"""The one entrance, on the real Envoy: who comes through, with what, how large, how slow, how often."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from libs.testing.gateway import PROOF, Answer, Behind, Gate, Passed, gate
from libs.testing.probe import until

Headers = dict[str, str]
KEY = "vk_live_something"


@pytest.fixture(scope="module")
def behind() -> Iterator[Behind]:
    made = Behind()
    yield made
    made.close()


@pytest.fixture(scope="module")
def entrance(tmp_path_factory: pytest.TempPathFactory, behind: Behind) -> Iterator[Gate]:
    with gate(tmp_path_factory.mktemp("gateway"), behind, HEADERS_TIMEOUT="1s", REQUEST_TIMEOUT="2s") as made:
        yield made


@pytest.fixture(autouse=True)
def _fresh(behind: Behind) -> None:
    behind.passed.clear()
    behind.answer = lambda _: Answer()
    behind.authorize = lambda _: Answer(401, {"content-type": "application/problem+json"}, b'{"code": "api_key_refused"}')


@pytest.fixture
def known(behind: Behind) -> Headers:
    return {"Authorization": f"Bearer {behind.token()}"}


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem document."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body.get("status", answer.status_code) == answer.status_code
    return answer.status_code, body["code"]


class TestTokens:
    def test_a_good_one_comes_through_as_it_is(self, entrance: Gate, behind: Behind, known: Headers) -> None:
        assert httpx.get(f"{entrance.url}/v1/patients", headers=known).status_code == 200
        (passed,) = behind.passed
        assert (passed.target, passed.headers["authorization"]) == ("/v1/patients", known["Authorization"])

    @pytest.mark.parametrize(
        "bad",
        [
            lambda _: {},
            lambda _: {"Authorization": "Bearer abc"},
            lambda behind: {"Authorization": f"Bearer {behind.token(key=ec.generate_private_key(ec.SECP256R1()))}"},
            lambda behind: {"Authorization": f"Bearer {behind.token(exp=1)}"},
            lambda behind: {"Authorization": f"Bearer {behind.token(aud='anon')}"},
            lambda behind: {"Authorization": f"Bearer {behind.token(iss='https://elsewhere.example')}"},
        ],
        ids=["none", "no token", "another key", "expired", "another audience", "another issuer"],
    )
    def test_a_bad_one_ends_here(self, bad: Callable[[Behind], Headers], entrance: Gate, behind: Behind) -> None:
        answer = httpx.get(f"{entrance.url}/v1/patients", headers=bad(behind))
        assert problem(answer) == (401, "token_refused")
        assert behind.passed == []

    def test_signed_webhooks_and_hooks_need_none(self, entrance: Gate, behind: Behind) -> None:
        for path in (
            f"/webhooks/calcom/{uuid4()}",
            f"/webhooks/retell/{uuid4()}",
            f"/webhooks/sendgrid/{uuid4()}",
            f"/webhooks/workflows/{uuid4()}/{uuid4()}",
            "/hooks/supabase/access-token",
        ):
            assert httpx.post(entrance.url + path, content=b"{}").status_code == 200

    def test_a_preflight_needs_none(self, entrance: Gate, behind: Behind) -> None:
        headers = {"Origin": "https://www.lindenhof.example", "Access-Control-Request-Method": "GET"}
        assert httpx.options(f"{entrance.url}/v1/patients", headers=headers).status_code == 200
        assert httpx.options(f"{entrance.url}/v1/patients").status_code == 401

    def test_auth_is_reached_below_its_own_path(self, entrance: Gate, behind: Behind) -> None:
        assert httpx.post(f"{entrance.url}/auth/v1/token?grant_type=password", json={}).status_code == 200
        assert behind.passed[-1].target == "/token?grant_type=password"


class TestKeys:
    @pytest.fixture
    def key(self, behind: Behind) -> tuple[str, str]:
        """A key the practices service knows: its id and practice."""
        key_id, practice = str(uuid4()), str(uuid4())

        def check(passed: Passed) -> Answer:
            good = passed.headers.get("x-api-key") == KEY and passed.headers.get("x-vantage-gateway") == PROOF
            headers = {"authorization": "Bearer of the house", "x-key-id": key_id, "x-practice-id": practice}
            return (
                Answer(200, headers) if good else Answer(401, {"content-type": "application/problem+json"}, b'{"code": "api_key_refused"}')
            )

        behind.authorize = check
        return key_id, practice

    def test_a_known_one_becomes_a_token_of_the_house(self, entrance: Gate, behind: Behind, key: tuple[str, str]) -> None:
        answer = httpx.post(f"{entrance.url}/v1/patients", json={"a": 1}, headers={"X-Api-Key": KEY})
        assert answer.status_code == 200
        (passed,) = behind.passed
        assert (passed.headers["authorization"], passed.headers["x-key-id"], passed.body) == ("Bearer of the house", key[0], b'{"a":1}')
        assert "x-api-key" not in passed.headers

    def test_an_unknown_one_is_refused_in_the_words_of_who_knows(self, entrance: Gate, behind: Behind, key: tuple[str, str]) -> None:
        assert problem(httpx.get(f"{entrance.url}/v1/patients", headers={"X-Api-Key": "another"})) == (401, "api_key_refused")
        assert behind.passed == []

    def test_nobody_is_let_in_while_nobody_can_say(self, entrance: Gate, behind: Behind) -> None:
        behind.authorize = lambda _: Answer(500)
        answer = httpx.get(f"{entrance.url}/v1/patients", headers={"X-Api-Key": KEY})
        assert answer.status_code in {403, 503}
        assert behind.passed == []

    def test_whoever_has_a_token_is_not_asked_for_a_key(self, entrance: Gate, behind: Behind, known: Headers) -> None:
        assert httpx.get(f"{entrance.url}/v1/me", headers=known).status_code == 200


class TestHeaders:
    def test_identity_from_outside_does_not_get_in(self, entrance: Gate, behind: Behind, known: Headers) -> None:
        forged = {
            "X-Key-Id": "k",
            "X-Practice-Id": "p",
            "X-Vantage-Gateway": "me",
            "X-Vantage-Client": "203.0.113.9",
            "X-Forwarded-For": "203.0.113.9",
        }
        httpx.get(f"{entrance.url}/v1/me", headers={**known, **forged})
        (passed,) = behind.passed
        assert ("x-key-id" in passed.headers, "x-practice-id" in passed.headers) == (False, False)
        assert (passed.headers["x-vantage-gateway"], passed.headers["x-vantage-client"]) == (PROOF, "127.0.0.1")

    def test_behind_a_proxy_of_ours_its_word_for_the_address_counts(self, tmp_path: Path, behind: Behind, known: Headers) -> None:
        with gate(tmp_path, behind, TRUSTED_HOPS="1") as inner:
            httpx.get(f"{inner.url}/v1/me", headers={**known, "X-Forwarded-For": "198.51.100.1, 203.0.113.9"})
        assert behind.passed[-1].headers["x-vantage-client"] == "203.0.113.9"

    def test_a_trace_goes_on_and_a_request_has_an_id(self, entrance: Gate, behind: Behind, known: Headers) -> None:
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        answer = httpx.get(f"{entrance.url}/v1/me", headers={**known, "traceparent": trace, "X-Request-Id": "mine"})
        assert behind.passed[-1].headers["traceparent"].split("-")[1] == trace.split("-")[1]
        assert (behind.passed[-1].headers["x-request-id"], answer.headers["x-request-id"]) == ("mine", "mine")
        assert httpx.get(f"{entrance.url}/v1/me", headers=known).headers["x-request-id"]

    def test_answers_carry_what_keeps_browsers_safe(self, entrance: Gate, behind: Behind, known: Headers) -> None:
        for answer in (
            httpx.get(f"{entrance.url}/v1/me", headers=known),
            httpx.get(f"{entrance.url}/v1/me"),
            httpx.get(f"{entrance.url}/nothing"),
        ):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert (answer.headers["x-frame-options"], answer.headers["referrer-policy"]) == ("DENY", "no-referrer")
            assert answer.headers["cache-control"] == "no-store"
            assert (answer.headers["server"], "x-powered-by" in answer.headers) == ("vantage", False)
            assert "strict-transport-security" not in answer.headers


class TestBodies:
    def test_a_webhooks_bytes_are_not_touched(self, entrance: Gate, behind: Behind) -> None:
        raw = b'{ "b" : 1,\r\n\t"a":"\xc3\xa4\\u00e4" ,"b":2}  '
        httpx.post(f"{entrance.url}/webhooks/calcom/{uuid4()}?x=%20y", content=raw, headers={"content-type": "text/odd"})
        (passed,) = behind.passed
        assert (passed.body, passed.headers["content-type"], passed.target.endswith("?x=%20y")) == (raw, "text/odd", True)

    def test_are_as_large_as_their_route_takes(self, entrance: Gate, behind: Behind, known: Headers) -> None:
        large = b"x" * 300_000
        assert problem(httpx.post(f"{entrance.url}/v1/patients", content=large, headers=known)) == (413, "body_too_large")
        assert httpx.post(f"{entrance.url}/webhooks/calcom/{uuid4()}", content=large).status_code == 200
        assert httpx.post(f"{entrance.url}/webhooks/calcom/{uuid4()}", content=b"x" * 1_100_000).status_code == 413

    def test_without_a_length_are_counted_too(self, entrance: Gate, behind: Behind, known: Headers) -> None:
        def endless() -> Iterator[bytes]:
            for _ in range(10):
                yield b"x" * 65_536

        assert httpx.post(f"{entrance.url}/v1/patients", content=endless(), headers=known).status_code == 413
        assert behind.passed == []


def raw(entrance: Gate, *parts: bytes) -> bytes:
    """What comes back for these bytes, until the other side closes."""
    with socket.create_connection(("127.0.0.1", entrance.state.ports["gateway"]), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
        return received


class TestMalformed:
    @pytest.mark.parametrize(
        "request_bytes",
        [
            b"POST /webhooks/calcom/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            b"POST /webhooks/calcom/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"GET /v1/me HTTP/1.1\r\nHost: a\r\nX_Practice_Id: 1\r\nConnection: close\r\n\r\n",
            b"GET /v1/patients/%2e%2e%2fledger HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            b"GET /v1/patients/%00 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            b"GET /v1/patients\\..\\ledger%5c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            b"nonsense\r\n\r\n",
        ],
        ids=["two lengths", "length and chunks", "underscores", "escaped slashes", "escaped nul", "backslashes", "no http"],
    )
    def test_is_refused_and_reaches_nobody(self, request_bytes: bytes, entrance: Gate, behind: Behind) -> None:
        answer = raw(entrance, request_bytes)
        assert answer.split(b" ")[1] in {b"400", b"401"}, answer
        assert behind.passed == []

    @pytest.mark.parametrize("path", ["/v1//me", "/v1/patients/../me", "/v1/./me"])
    def test_odd_paths_mean_what_they_say(self, path: str, entrance: Gate, behind: Behind, known: Headers) -> None:
        request = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {known['Authorization']}\r\n\r\n"
        assert raw(entrance, request.encode()).startswith(b"HTTP/1.1 200")
        assert behind.passed[-1].target == "/v1/me"

    @pytest.mark.parametrize(
        "path", ["/internal/authorize", "/internal/authorize/v1/me", "/metrics", "/livez", "/v2/me", "/v1/internal", "/"]
    )
    def test_what_is_not_for_outside_is_not_there(self, path: str, entrance: Gate, behind: Behind, known: Headers) -> None:
        assert problem(httpx.get(entrance.url + path, headers=known)) == (404, "no_route")
        assert behind.passed == []

    def test_too_many_or_too_large_headers_are_refused(self, entrance: Gate, behind: Behind, known: Headers) -> None:
        assert problem(httpx.get(f"{entrance.url}/v1/me", headers={**known, "X-Large": "x" * 20_000}))[0] == 431
        assert httpx.get(f"{entrance.url}/v1/me", headers={**known, **{f"X-{n}": "1" for n in range(200)}}).status_code == 431


class TestSlowness:
    def test_slow_headers_are_cut_off(self, entrance: Gate, behind: Behind) -> None:
        assert raw(entrance, b"GET /v1/me HTTP/1.1\r\nHost: a\r\n").startswith(b"HTTP/1.1 408")

    def test_a_slow_body_is_cut_off_and_reaches_nobody(self, entrance: Gate, behind: Behind) -> None:
        head = b"POST /webhooks/calcom/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
        assert raw(entrance, head, b"{").startswith(b"HTTP/1.1 408")
        assert behind.passed == []


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, behind: Behind) -> Iterator[Gate]:
    """Lets a few through, then one a second."""
    few = {"USER_RATE": "1", "USER_BURST": "3", "PRACTICE_RATE": "1", "PRACTICE_BURST": "6", "KEY_RATE": "1", "KEY_BURST": "2"}
    with gate(tmp_path_factory.mktemp("strict"), behind, **few) as made:
        yield made


class TestLimits:
    def test_one_user_is_held_back_and_told_when_to_come_again(self, strict: Gate, behind: Behind) -> None:
        one, other = ({"Authorization": f"Bearer {behind.token()}"} for _ in range(2))
        answers = [httpx.get(f"{strict.url}/v1/me", headers=one) for _ in range(5)]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert problem(refused) == (429, "rate_limited")
        assert (refused.headers["ratelimit-remaining"], refused.headers["retry-after"]) == ("0", refused.headers["ratelimit-reset"])
        assert answers[0].headers["ratelimit-limit"] == "3"
        assert not [name for name in refused.headers if name.startswith("x-ratelimit")]
        assert httpx.get(f"{strict.url}/v1/me", headers=other).status_code == 200

    def test_one_practice_is_held_back_however_many_its_users_are(self, strict: Gate, behind: Behind) -> None:
        practice = uuid4()
        users = [{"Authorization": f"Bearer {behind.token(practice)}"} for _ in range(9)]
        statuses = [httpx.get(f"{strict.url}/v1/me", headers=user).status_code for user in users]
        assert (statuses[0], 429 in statuses) == (200, True)
        assert httpx.get(f"{strict.url}/v1/me", headers={"Authorization": f"Bearer {behind.token()}"}).status_code == 200

    def test_one_key_is_held_back(self, strict: Gate, behind: Behind) -> None:
        def check(passed: Passed) -> Answer:
            return Answer(200, {"authorization": "Bearer x", "x-key-id": passed.headers["x-api-key"], "x-practice-id": str(uuid4())})

        behind.authorize = check
        statuses = [httpx.get(f"{strict.url}/v1/me", headers={"X-Api-Key": "greedy"}).status_code for _ in range(4)]
        assert (statuses[0], statuses[-1]) == (200, 429)
        assert httpx.get(f"{strict.url}/v1/me", headers={"X-Api-Key": "modest"}).status_code == 200

    def test_one_address_is_held_back_also_without_a_token(self, tmp_path: Path, behind: Behind) -> None:
        with gate(tmp_path, behind, ADDRESS_RATE="1", ADDRESS_BURST="3") as made:
            statuses = [httpx.post(f"{made.url}/webhooks/calcom/x").status_code for _ in range(6)]
        assert (statuses[0], statuses[-1]) == (200, 429)


class TestEncryption:
    def test_speaks_http_2_under_a_certificate_of_its_own_authority(self, entrance: Gate, behind: Behind, known: Headers) -> None:
        context = ssl.create_default_context(cafile=str(entrance.authority))
        answer = httpx.get(f"{entrance.tls_url}/v1/me", headers=known, verify=context)
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"].startswith("max-age=31536000")
        context.set_alpn_protocols(["h2"])
        with socket.create_connection(("127.0.0.1", entrance.state.ports["gateway_tls"])) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                assert (connection.selected_alpn_protocol(), connection.version()) == ("h2", "TLSv1.3")

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_takes_no_old_protocol(self, entrance: Gate) -> None:
        context = ssl.create_default_context(cafile=str(entrance.authority))
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with socket.create_connection(("127.0.0.1", entrance.state.ports["gateway_tls"])) as plain, pytest.raises((ssl.SSLError, OSError)):
            context.wrap_socket(plain, server_hostname="localhost")

    def test_without_it_only_this_machine_is_served(self, tmp_path: Path, behind: Behind, known: Headers) -> None:
        """Here 127.0.0.2 stands for another machine."""
        with gate(tmp_path, behind, LOOPBACK_ADDRESS="127.0.0.1", LOOPBACK_PREFIX="32") as made:
            outside = httpx.HTTPTransport(local_address="127.0.0.2")
            with httpx.Client(transport=outside) as client:
                answer = client.get(f"{made.url}/v1/me?x=1", headers=known)
            assert (answer.status_code, answer.headers["location"]) == (
                308,
                f"https://127.0.0.1:{made.state.ports['gateway_tls']}/v1/me?x=1",
            )
            assert behind.passed == []
            assert httpx.get(f"{made.url}/v1/me", headers=known).status_code == 200


class TestReload:
    def test_drops_no_request_and_a_broken_file_changes_nothing(self, tmp_path: Path, behind: Behind, known: Headers) -> None:
        with gate(tmp_path, behind) as made:
            statuses: list[int] = []
            stop = threading.Event()

            def knock() -> None:
                with httpx.Client(base_url=made.url) as client:
                    while not stop.is_set():
                        statuses.append(client.get("/v1/me", headers=known).status_code)

            callers = [threading.Thread(target=knock) for _ in range(4)]
            for caller in callers:
                caller.start()
            for number in range(3):
                before = made.stats("listener_manager.lds.update_success")
                made.prepare(KEY_RATE=str(60 + number))
                until(lambda before=before: made.stats("listener_manager.lds.update_success") > before, what="the reload")  # type: ignore[misc]
            listeners = made.boot.parent / "listeners.yaml"
            broken = listeners.with_suffix(".broken")
            broken.write_text(listeners.read_text().replace("http_filters", "no_such_field"))
            broken.rename(listeners)
            until(lambda: made.stats("listener_manager.lds.update_rejected") > 0, what="the refusal")
            seen = len(statuses)
            until(lambda: len(statuses) > seen + 20, what="more requests")
            stop.set()
            for caller in callers:
                caller.join()
            assert set(statuses) == {200}


class TestLog:
    def test_holds_nothing_of_a_person(self, entrance: Gate, behind: Behind, known: Headers) -> None:
        patient, practice = uuid4(), uuid4()
        headers = {"Authorization": f"Bearer {behind.token(practice)}", "User-Agent": "canary-agent", "X-Request-Id": "the-one"}
        httpx.get(f"{entrance.url}/v1/patients/{patient}?email=canary@mail.example", headers=headers)
        until(lambda: "the-one" in entrance.log.read_text(), what="the log line")
        text = entrance.log.read_text()
        line = json.loads(next(line for line in text.splitlines() if "the-one" in line))
        assert (line["route"], line["status"], line["practice_id"]) == ("patients", 200, str(practice))
        assert [canary for canary in (str(patient), "canary", headers["Authorization"][7:]) if canary in text] == []


class TestReference:
    def test_is_a_page_without_anything_from_elsewhere(self, entrance: Gate) -> None:
        page = httpx.get(f"{entrance.url}/docs")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert "https://" not in page.text
        kinds = {
            "openapi.json": "application/json",
            "docs.js": "text/javascript",
            "swagger-ui-bundle.js": "text/javascript",
            "swagger-ui.css": "text/css",
        }
        for name, kind in kinds.items():
            answer = httpx.get(f"{entrance.url}/docs/{name}")
            assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, kind)
        assert httpx.get(f"{entrance.url}/docs/openapi.json").json()["openapi"].startswith("3.1")
