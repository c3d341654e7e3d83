"""Bad input at the doors: each gets its clear error, nothing of it is repeated, nothing changes, and the next request works.

One place to tick them off. What is shown more closely elsewhere is named where it is shown.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from libs.common.auth import Permission, Role
from libs.contracts.envelope import PLATFORM
from libs.testing.fixtures import AUDIENCE, ISSUER, Headers, Token
from tests.architecture.doors import Callers, plant

Root = psycopg.Connection[tuple[Any, ...]]
Clients = dict[str, httpx.AsyncClient]
MIRA = {"given_name": "Mira", "family_name": "Holm"}
VISIT = {"resource": "Dr Lund", "title": "Visit", "attendee": {"name": "Mira Holm"}}
CANARY = "canary-of-the-input"


@pytest.fixture
def mine() -> UUID:
    return uuid4()


@pytest.fixture
def admin(callers: Callers, mine: UUID) -> Headers:
    return callers.person("patients", Role.PRACTICE_ADMIN, mine)


@pytest.fixture
def scheduler(callers: Callers, mine: UUID) -> Headers:
    return callers.person("scheduling", Role.PRACTICE_ADMIN, mine)


@pytest.fixture
def patients(clients: Clients) -> httpx.AsyncClient:
    return clients["patients"]


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem document that repeats nothing and tells nothing of us."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    for telltale in (CANARY, "Traceback", 'File "', "asyncpg", "sqlalchemy", "DETAIL"):
        assert telltale not in answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["code"]


def written(root: Root, practice: UUID) -> int:
    """Rows of the practice in patients and scheduling, denials aside."""
    count = 0
    for table in ("patients.patient", "scheduling.appointment", "patients.idempotency"):
        row = root.execute(f"SELECT count(*) FROM {table} WHERE practice_id = %s", [practice]).fetchone()
        assert row is not None
        count += row[0]
    return count


class TestTenants:
    """1 to 5: ids of another practice in the path, the query, the body, a cursor and a key; walked in test_route_walk.py."""

    async def test_01_another_practices_patient_in_the_path_is_nobodys(
        self, patients: httpx.AsyncClient, admin: Headers, root: Root
    ) -> None:
        theirs = plant(root, "patient_id", uuid4())
        for method in ("GET", "PATCH"):
            body = {"family_name": "Mine"} if method == "PATCH" else None
            answer = await patients.request(method, f"/v1/patients/{theirs}", json=body, headers=admin)
            assert problem(answer) == (404, "patient_not_found")

    async def test_02_another_practices_patient_in_a_body_is_nobodys(
        self, clients: Clients, scheduler: Headers, root: Root, mine: UUID
    ) -> None:
        body = {"resource": "x", "title": "x", "starts_at": "2030-01-07T09:00:00Z", "ends_at": "2030-01-07T10:00:00Z"}
        answers = [
            await clients["scheduling"].post("/v1/appointments", json={**body, "patient_id": str(patient)}, headers=scheduler)
            for patient in (plant(root, "patient_id", uuid4()), uuid4())
        ]
        assert problem(answers[0]) == problem(answers[1])
        assert answers[0].status_code in {404, 422}
        assert written(root, mine) == 0

    async def test_03_a_practice_id_in_a_body_is_an_unknown_field(self, patients: httpx.AsyncClient, admin: Headers) -> None:
        answer = await patients.post("/v1/patients", json={**MIRA, "practice_id": str(uuid4())}, headers=admin)
        assert (problem(answer), answer.json()["errors"][0]["pointer"]) == ((422, "invalid_input"), "/practice_id")

    async def test_04_a_cursor_of_another_practice_is_no_cursor(
        self, patients: httpx.AsyncClient, admin: Headers, callers: Callers
    ) -> None:
        other = callers.person("patients", Role.PRACTICE_ADMIN, uuid4())
        for name in ("A", "B"):
            await patients.post("/v1/patients", json={**MIRA, "family_name": name}, headers=other)
        cursor = (await patients.get("/v1/patients", params={"limit": 1}, headers=other)).json()["next_cursor"]
        assert problem(await patients.get("/v1/patients", params={"cursor": cursor}, headers=admin)) == (422, "cursor_invalid")

    async def test_05_an_idempotency_key_of_another_practice_is_a_new_one(
        self, patients: httpx.AsyncClient, admin: Headers, callers: Callers
    ) -> None:
        other = callers.person("patients", Role.PRACTICE_ADMIN, uuid4())
        first, second = [
            await patients.post("/v1/patients", json=MIRA, headers={**who, "Idempotency-Key": "the-same"}) for who in (other, admin)
        ]
        assert (first.status_code, second.status_code, first.json()["id"] != second.json()["id"]) == (201, 201, True)


class TestHttp:
    async def test_06_an_idempotency_key_means_one_request(self, patients: httpx.AsyncClient, admin: Headers) -> None:
        keyed = {**admin, "Idempotency-Key": "k"}
        first = await patients.post("/v1/patients", json=MIRA, headers=keyed)
        again = await patients.post("/v1/patients", json=MIRA, headers=keyed)
        assert (again.status_code, again.content) == (201, first.content)
        assert problem(await patients.post("/v1/patients", json={**MIRA, "given_name": "Eva"}, headers=keyed)) == (
            422,
            "idempotency_key_reused",
        )

    @pytest.mark.parametrize("key", [b"", b"x" * 10_240, b"a\tb", b"\xff"], ids=["empty", "10 KB", "control", "not ASCII"])
    async def test_06_an_idempotency_key_that_is_none_is_refused(self, key: bytes, patients: httpx.AsyncClient, admin: Headers) -> None:
        answer = await patients.post("/v1/patients", json=MIRA, headers=[*admin.items(), ("Idempotency-Key", key)])  # type: ignore[arg-type]
        assert problem(answer) == (422, "idempotency_key_invalid")

    @pytest.mark.parametrize(
        ("body", "found"),
        [
            pytest.param(b'{"given_name": "A", "family_name": "B", "family_name": "C"}', (400, "json_not_exact"), id="07 a key twice"),
            pytest.param(b'{"given_name": NaN, "family_name": "B"}', (400, "json_not_exact"), id="08 NaN"),
            pytest.param(b'{"given_name": 1e400, "family_name": "B"}', (400, "json_not_exact"), id="08 a number beyond all"),
            pytest.param(b'{"given_name": 123456789012345678901234567890}', (400, "json_not_exact"), id="08 thirty digits"),
            pytest.param(rb'{"given_name": "\ud800", "family_name": "B"}', (422, "text_invalid"), id="09 half a character"),
            pytest.param(rb'{"given_name": "a\u0000b", "family_name": "B"}', (422, "text_invalid"), id="09 NUL"),
            pytest.param(b"[" * 100_000 + b"]" * 100_000, (400, "json_too_deep"), id="10 a hundred thousand arrays"),
        ],
    )
    async def test_json_that_is_not_meant(
        self, body: bytes, found: tuple[int, str], patients: httpx.AsyncClient, admin: Headers, root: Root, mine: UUID
    ) -> None:
        answer = await patients.post("/v1/patients", content=body, headers={**admin, "content-type": "application/json"})
        assert problem(answer) == found
        assert written(root, mine) == 0

    @pytest.mark.parametrize(
        "kind", ["text/xml", "multipart/form-data; boundary=x", "application/json; charset=utf-7", "application/json; charset=utf-16"]
    )
    async def test_13_another_content_type_is_not_taken(self, kind: str, patients: httpx.AsyncClient, admin: Headers) -> None:
        answer = await patients.post("/v1/patients", content=json.dumps(MIRA).encode(), headers={**admin, "content-type": kind})
        assert problem(answer) == (415, "content_type_refused")

    async def test_15_headers_that_claim_something_are_ignored(
        self, patients: httpx.AsyncClient, admin: Headers, root: Root, mine: UUID
    ) -> None:
        made = (await patients.post("/v1/patients", json=MIRA, headers=admin)).json()["id"]
        claims = {
            "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-HTTP-Method-Override": "DELETE",
            "X-Practice-Id": str(uuid4()), "X-Vantage-Client": "203.0.113.9",
        }  # fmt: skip
        answer = await patients.get(f"/v1/patients/{made}", headers={**admin, **claims})
        assert (answer.status_code, "evil.example" in str(answer.headers)) == (200, False)
        session = (await patients.get("/v1/debug/patients/session", headers={**admin, **claims})).json()
        assert (session["practice_id"], session["address"], session["through_gateway"]) == (str(mine), "127.0.0.1", False)

    @pytest.mark.parametrize(
        "query",
        [
            pytest.param({"sort": "last_name;drop table patient"}, id="17 SQL as an order"),
            pytest.param({"filter": "(select 1)"}, id="17 SQL as a filter"),
            pytest.param({"q": "%" * 10_240}, id="18 a search of 10 KB"),
            pytest.param({"sort": "ssn"}, id="19 an order by what is hidden"),
        ],
    )
    async def test_what_a_list_does_not_offer_is_refused(self, query: dict[str, str], patients: httpx.AsyncClient, admin: Headers) -> None:
        assert problem(await patients.get("/v1/patients", params=query, headers=admin)) == (422, "parameter_unknown")

    @pytest.mark.parametrize("value", ["0", "-1", "101", "1e3", "x", "9" * 30])
    async def test_17_a_limit_that_is_none_is_refused(self, value: str, patients: httpx.AsyncClient, admin: Headers) -> None:
        assert problem(await patients.get("/v1/patients", params={"limit": value}, headers=admin)) == (422, "invalid_input")

    @pytest.mark.parametrize("field", ["id", "created_at", "version", "is_admin", "__class__"])
    async def test_20_a_field_nobody_offers_is_refused(self, field: str, patients: httpx.AsyncClient, admin: Headers) -> None:
        answer = await patients.post("/v1/patients", json={**MIRA, field: CANARY}, headers=admin)
        assert (problem(answer), answer.json()["errors"][0]["pointer"]) == ((422, "invalid_input"), f"/{field}")

    @pytest.mark.parametrize(
        "date", ["0000-00-00", "2026-02-30", "1700-01-01", "2100-01-01", "9999-12-31", "1987-04-12T00:00:00Z0", CANARY, 17]
    )
    async def test_21_a_day_nobody_was_born_is_refused(self, date: Any, patients: httpx.AsyncClient, admin: Headers) -> None:
        answer = await patients.post("/v1/patients", json={**MIRA, "birth_date": date}, headers=admin)
        assert problem(answer) in {(422, "invalid_input"), (422, "birth_date_impossible")}
        assert answer.json()["errors"][0]["pointer"] == "/birth_date"

    @pytest.mark.parametrize(
        "times",
        [
            pytest.param({"starts_at": "2030-01-07T10:00:00Z", "ends_at": "2030-01-07T09:00:00Z"}, id="ends before it starts"),
            pytest.param({"starts_at": "2030-01-07T10:00:00Z", "ends_at": "2040-01-07T10:00:00Z"}, id="ten years long"),
            pytest.param({"starts_at": "2030-01-07T10:00:00", "ends_at": "2030-01-07T11:00:00"}, id="no zone"),
            pytest.param(
                {"starts_at": "2030-01-07T10:00:00Z", "ends_at": "2030-01-07T11:00:00Z", "time_zone": "Mars/Base"}, id="no such zone"
            ),
            pytest.param({"starts_at": "9999-12-31T23:59:59Z", "ends_at": "9999-12-31T23:59:59Z"}, id="no length"),
        ],
    )
    async def test_22_an_appointment_that_cannot_be_is_refused(
        self, times: dict[str, str], clients: Clients, scheduler: Headers, root: Root, mine: UUID
    ) -> None:
        """Times carry their offset, so that a gap or an overlap of daylight-saving time cannot be meant by mistake."""
        answer = await clients["scheduling"].post("/v1/appointments", json={**VISIT, **times}, headers=scheduler)
        assert answer.status_code == 422, answer.text
        assert problem(answer)[0] == 422
        assert written(root, mine) == 0

    async def test_23_one_slot_is_booked_once(self, clients: Clients, scheduler: Headers) -> None:
        body = {**VISIT, "starts_at": "2031-01-07T10:00:00Z", "ends_at": "2031-01-07T11:00:00Z"}
        answers = await asyncio.gather(*(clients["scheduling"].post("/v1/appointments", json=body, headers=scheduler) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]

    async def test_24_a_change_of_what_somebody_changed_meanwhile_is_refused(self, patients: httpx.AsyncClient, admin: Headers) -> None:
        made = (await patients.post("/v1/patients", json=MIRA, headers=admin)).json()["id"]
        for version, status in (('"1"', 200), ('"1"', 412)):
            answer = await patients.patch(f"/v1/patients/{made}", json={"given_name": f"v{status}"}, headers={**admin, "If-Match": version})
            assert answer.status_code == status
        answer = await patients.patch(f"/v1/patients/{made}", json={"given_name": "x"}, headers={**admin, "If-Match": "yesterday"})
        assert problem(answer) == (422, "if_match_invalid")

    async def test_25_names_are_kept_as_people_write_them_in_one_spelling(self, patients: httpx.AsyncClient, admin: Headers) -> None:
        written_names = {
            "Zoe\u0308": "Zo\u00eb",
            "\u202eevil\u202c": "\u202eevil\u202c",
            "a\u200bb": "a\u200bb",
            "\u0410\u0434\u0430": "\u0410\u0434\u0430",
        }
        for given, kept in written_names.items():
            answer = await patients.post("/v1/patients", json={**MIRA, "given_name": given}, headers=admin)
            assert (answer.status_code, answer.json()["given_name"]) == (201, kept)
        for control in ("a\x07b", "a\x1bb", "a\x7fb"):
            assert problem(await patients.post("/v1/patients", json={**MIRA, "given_name": control}, headers=admin))[0] == 422

    @pytest.mark.parametrize(
        "trace", ["x" * 100_000, "00-0-0-0", "ff-" + "0" * 32 + "-" + "0" * 16 + "-01", "00-" + "g" * 32 + "-" + "1" * 16 + "-01"]
    )
    async def test_67_a_trace_header_that_is_none_is_ignored(self, trace: str, patients: httpx.AsyncClient, admin: Headers) -> None:
        answer = await patients.get(
            "/v1/patients", headers={**admin, "traceparent": trace, "tracestate": trace[:5000], "x-correlation-id": trace}
        )
        assert (answer.status_code, len(answer.headers["x-correlation-id"]) <= 128) == (200, True)


class TestPeople:
    async def test_26_nobody_makes_a_vantage_admin_or_changes_themselves(self, clients: Clients, callers: Callers, mine: UUID) -> None:
        admin = callers.person("practices", Role.PRACTICE_ADMIN, mine)
        body = {"name": "Ada", "email": "ada@practice.example", "role": "vantage_admin"}
        assert problem(await clients["practices"].post("/v1/invitations", json=body, headers=admin)) == (422, "invalid_input")
        # One's own role: services/practices/tests/test_users.py, test_nobody_changes_their_own_role.

    async def test_27_a_deactivated_users_valid_token_is_refused(
        self, patients: httpx.AsyncClient, callers: Callers, root: Root, token: Token
    ) -> None:
        practice = uuid4()
        callers.person("patients", Role.REGULAR_USER, practice)
        root.execute("INSERT INTO patients.access_member VALUES (%s, 'gone', gen_random_uuid(), 'regular_user', false, 1)", [practice])
        answer = await patients.get("/v1/patients", headers={"Authorization": f"Bearer {token(practice, subject='gone')}"})
        assert problem(answer) == (401, "access_ended")

    async def test_28_an_export_is_not_for_everybody_and_the_attempt_is_kept(
        self, clients: Clients, callers: Callers, root: Root, mine: UUID
    ) -> None:
        user = callers.person("audit", Role.REGULAR_USER, mine)
        assert problem(await clients["audit"].get("/v1/ledger/export", headers=user)) == (403, "permission_missing")
        row = root.execute("SELECT payload FROM audit.outbox WHERE practice_id = %s", [mine]).fetchone()
        assert row is not None
        assert (row[0]["operation"], row[0]["status"]) == ("GET /v1/ledger/export", 403)


def _signed(key: ec.EllipticCurvePrivateKey, practice: UUID, **changed: Any) -> dict[str, Any]:
    now = int(datetime.now(UTC).timestamp())
    return {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "iat": now, "exp": now + 600, "role": "authenticated", "practice_id": str(practice), **changed,
    }  # fmt: skip


def _es256(
    header: dict[str, Any] | None = None, drop: tuple[str, ...] = (), **changed: Any
) -> Callable[[ec.EllipticCurvePrivateKey, UUID], str]:
    def make(key: ec.EllipticCurvePrivateKey, practice: UUID) -> str:
        claims = {name: value for name, value in _signed(key, practice, **changed).items() if name not in drop}
        head = {"kid": "test", "typ": "JWT", **(header or {})}
        return jwt.PyJWS().encode(json.dumps(claims).encode(), key, algorithm="ES256", headers=head)

    return make


def _hs256(key: ec.EllipticCurvePrivateKey, practice: UUID) -> str:
    return jwt.encode(_signed(key, practice), "x" * 32, algorithm="HS256", headers={"kid": "test"})


def _relabelled(key: ec.EllipticCurvePrivateKey, practice: UUID) -> str:
    head = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "typ": "JWT", "kid": "test"}).encode()).decode().rstrip("=")
    return f"{head}.{_es256()(key, practice).partition('.')[2]}"


def _none(key: ec.EllipticCurvePrivateKey, practice: UUID) -> str:
    return jwt.encode(_signed(key, practice), "", algorithm="none", headers={"kid": "test"})


LATER = int((datetime.now(UTC) + timedelta(days=3650)).timestamp())
SOON = int((datetime.now(UTC) + timedelta(minutes=10)).timestamp())
BAD_TOKENS: list[Any] = [
    pytest.param(_none, id="31 alg none"),
    pytest.param(_hs256, id="32 HS256 where ES256 is pinned"),
    pytest.param(_relabelled, id="33 another algorithm named"),
    *(
        pytest.param(_es256({"kid": kid}), id=f"34 kid {kid[:12]}")
        for kid in ("../../etc/passwd", "https://keys.example/", "' OR 1=1 --", "k" * 5000)
    ),
    *(pytest.param(_es256({name: "https://keys.example/"}), id=f"35 {name}") for name in ("jwk", "jku", "x5u")),
    pytest.param(_es256({"crit": ["exp"]}), id="36 an unknown crit"),
    pytest.param(lambda key, practice: _es256()(key, practice) + ".a.b", id="37 five parts"),
    pytest.param(lambda key, practice: _es256()(key, practice) + "AA", id="37 something behind it"),
    pytest.param(lambda key, practice: _es256()(key, practice).rpartition(".")[0] + ".", id="37 an empty signature"),
    pytest.param(_es256(drop=("aud",)), id="38 no audience"),
    pytest.param(_es256(aud=["anon"]), id="38 other audiences"),
    pytest.param(_es256(iss=f"{ISSUER}/"), id="38 an issuer with a slash more"),
    pytest.param(_es256(iss=ISSUER[:-1]), id="38 a part of the issuer"),
    pytest.param(_es256(drop=("exp",)), id="39 no expiry"),
    pytest.param(_es256(exp="tomorrow"), id="39 an expiry in words"),
    pytest.param(_es256(exp=SOON + 0.5), id="39 an expiry with a fraction"),
    pytest.param(_es256(exp=LATER), id="39 ten years"),
    pytest.param(_es256(iat=SOON), id="39 issued in the future"),
    pytest.param(_es256(nbf=SOON), id="39 not valid yet"),
    pytest.param(_es256({"typ": "id+jwt"}), id="40 an id token"),
    pytest.param(lambda _key, _practice: "v1refreshtok", id="40 a refresh token"),
    pytest.param(_es256(role="service_role"), id="40 the service role's token"),
    pytest.param(_es256(practice_id="mine"), id="41 a practice that is none"),
]


class TestTokens:
    @pytest.mark.parametrize("make", BAD_TOKENS)
    async def test_a_bad_token_is_refused_in_the_same_words(
        self,
        make: Callable[[ec.EllipticCurvePrivateKey, UUID], str],
        patients: httpx.AsyncClient,
        signing_key: ec.EllipticCurvePrivateKey,
        root: Root,
        mine: UUID,
    ) -> None:
        root.execute("INSERT INTO patients.access_practice VALUES (%s, false, '{}', 0)", [mine])
        root.execute("INSERT INTO patients.access_member VALUES (%s, 'somebody', gen_random_uuid(), 'practice_admin', true, 1)", [mine])
        good = await patients.get("/v1/patients", headers={"Authorization": f"Bearer {_es256()(signing_key, mine)}"})
        assert good.status_code == 200
        answer = await patients.get("/v1/patients", headers={"Authorization": f"Bearer {make(signing_key, mine)}"})
        assert problem(answer) == (401, "token_refused")

    async def test_41_the_practice_of_a_claim_counts_only_where_we_know_the_member(
        self, patients: httpx.AsyncClient, token: Token, root: Root, mine: UUID
    ) -> None:
        root.execute("INSERT INTO patients.access_member VALUES (%s, 'x41', gen_random_uuid(), 'practice_admin', true, 1)", [mine])
        for practice in (uuid4(), None):
            answer = await patients.get("/v1/patients", headers={"Authorization": f"Bearer {token(practice, subject='x41')}"})
            assert problem(answer) == (403, "not_a_member")

    async def test_42_naming_a_third_practice_opens_nothing(self, patients: httpx.AsyncClient, admin: Headers) -> None:
        answer = await patients.get("/v1/patients", headers={**admin, "Vantage-Practice": str(uuid4())})
        assert problem(answer) == (403, "not_a_member")

    async def test_43_a_key_without_the_scope_is_refused(self, patients: httpx.AsyncClient, callers: Callers, mine: UUID) -> None:
        """Wrong check, revoked, expired, another address: services/practices/tests/test_keys.py."""
        key = callers.key("patients", mine, [Permission.APPOINTMENTS_READ])
        assert problem(await patients.get("/v1/patients", headers=key)) == (403, "permission_missing")

    async def test_43_a_key_in_the_query_is_refused_and_not_logged(
        self, patients: httpx.AsyncClient, admin: Headers, capsys: pytest.CaptureFixture[str]
    ) -> None:
        answer = await patients.get("/v1/patients", params={"api_key": CANARY}, headers=admin)
        assert problem(answer) == (422, "parameter_unknown")
        seen = capsys.readouterr()  # what a process says, it says here; tests/e2e/test_secrets.py reads the real logs
        assert CANARY not in seen.out + seen.err


class TestTheDatabase:
    @pytest.mark.parametrize(
        "context",
        ["", "x", "1|2|3", f"9999999999|{uuid4()}|{'0' * 64}", f"1|{uuid4()}|{'0' * 64}", f"9999999999|{uuid4()},{PLATFORM}|"],
        ids=["empty", "no context", "three parts", "forged", "expired", "unsigned"],
    )
    def test_115_a_tenant_context_that_was_not_signed_opens_nothing(self, context: str, database: Any, root: Root) -> None:
        plant(root, "patient_id", uuid4())
        with psycopg.connect(database.app("patients")) as connection:
            connection.execute("SELECT set_config('vantage.context', %s, true)", [context])
            if context:
                with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidTextRepresentation)):
                    connection.execute("SELECT count(*) FROM patients.patient")
            else:
                assert connection.execute("SELECT count(*) FROM patients.patient").fetchone() == (0,)
