"""The HTTP door: every trouble as a problem document, every answer kept under its key, nothing of the input repeated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import Response
from pydantic import BaseModel

from libs.common.access import Access
from libs.common.auth import Permission, Principal, Role
from libs.common.command import Command, Line
from libs.common.errors import Conflict, Forbidden, Malformed, NotFound, Refused, Stale, Trouble, Unavailable, VersionMismatch
from libs.common.http import CursorQuery, DoorDep, IfMatch, LimitQuery, Page, Routes, needs, public
from libs.common.http.app import Doorkeepers, make_app
from libs.common.http.middleware import MAX_BODY_BYTES
from libs.common.paging import Cursors
from libs.common.secrets import SecretBox
from libs.common.tests.conftest import thing
from libs.common.tokens import Issuer, TokenVerifier
from libs.common.work import Work
from libs.testing.fixtures import AUDIENCE, CURSOR_KEY, ISSUER, SECRETS_KEYS, Headers, Join, _OneKey


class Make(Command):
    name: Line
    size: int = 1


class View(BaseModel):
    id: UUID
    name: str


TROUBLES: dict[str, Trouble] = {
    "not-found": NotFound(),
    "conflict": Conflict(pointer="/name"),
    "stale": Stale(),
    "version": VersionMismatch(),
    "refused": Refused(pointer="/size", limit=3),
    "forbidden": Forbidden(),
    "malformed": Malformed(),
    "unavailable": Unavailable(retry_after_seconds=7),
}


class Counter:
    """How often the route's body ran, and a gate it can be held at."""

    def __init__(self) -> None:
        self.runs = 0
        self.gate: asyncio.Event | None = None
        self.reached = asyncio.Event()


READ = needs(Permission.PATIENTS_READ)
WRITE = needs(Permission.PATIENTS_WRITE)
OPEN = public("nothing to see")


def router(counter: Counter) -> Routes:
    routes = Routes(prefix="/v1")

    @routes.post("/things", status_code=201, response_model=View, **WRITE)
    async def make(cmd: Make, door: DoorDep) -> Response:
        async with door.work() as tx:
            counter.runs += 1
            counter.reached.set()
            if counter.gate is not None:
                await counter.gate.wait()
            if cmd.name == "forbidden":
                raise Forbidden
            view = View(id=tx.emit(thing(view=cmd.name)), name=cmd.name)
            return await door.answer(tx, view, status=201, headers={"Location": f"/v1/things/{view.id}"})

    @routes.get("/things", response_model=Page[int], **READ)
    async def page(door: DoorDep, limit: LimitQuery = 2, cursor: CursorQuery = None) -> Page[int]:
        after = door.position(cursor)
        start = 0 if after is None else int(after[0]) + 1
        return door.page(list(range(start, min(start + limit + 1, 5))), limit, lambda number: (number,))

    @routes.get("/trouble/{kind}", **OPEN)
    async def trouble(kind: str) -> None:
        raise TROUBLES[kind]

    @routes.get("/bug", **OPEN)
    async def bug() -> None:
        message = "the patient's name is in here"
        raise ValueError(message)

    @routes.get("/outage", **OPEN)
    async def outage() -> None:
        raise ConnectionRefusedError

    @routes.get("/version", **OPEN)
    async def version(if_match: IfMatch) -> dict[str, int | None]:
        return {"if_match": if_match}

    @routes.get("/practices/{practice_id}", **needs(Permission.ME_READ))
    async def enter(practice_id: UUID, door: DoorDep) -> Response:
        async with door.work(practice_id) as tx:
            return await door.answer(tx, {"practice": str(tx.practice_id)})

    @routes.get("/admins", **needs(Permission.USERS_WRITE))
    async def admins(_door: DoorDep) -> dict[str, str]:
        return {}

    return routes


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def health() -> dict[str, str]:
    return {"database": "ok"}


@pytest.fixture
async def client(
    work: Work, counter: Counter, health: dict[str, str], signing_key: ec.EllipticCurvePrivateKey
) -> AsyncIterator[httpx.AsyncClient]:
    async def checks() -> dict[str, str]:
        return health

    verifier = TokenVerifier(Issuer(ISSUER, AUDIENCE, "ES256", _OneKey(signing_key)))
    keepers = Doorkeepers(verifier, Access(work), Cursors(CURSOR_KEY), SecretBox.local(SECRETS_KEYS), "proof")
    app = make_app("test", work=work, keepers=keepers, checks=checks)
    app.include_router(router(counter))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://vantage.test") as client:
        yield client


class TestProblems:
    @pytest.mark.parametrize(
        ("kind", "status", "code"),
        [
            ("not-found", 404, "not_found"),
            ("conflict", 409, "conflict"),
            ("stale", 409, "stale"),
            ("version", 412, "version_mismatch"),
            ("refused", 422, "refused"),
            ("forbidden", 403, "forbidden"),
            ("malformed", 422, "malformed"),
            ("unavailable", 503, "unavailable"),
        ],
    )
    async def test_every_kind_of_trouble_has_its_status_and_its_code(
        self, kind: str, status: int, code: str, client: httpx.AsyncClient
    ) -> None:
        answer = await client.get(f"/v1/trouble/{kind}")
        assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (status, code, status)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["title"] == TROUBLES[kind].message

    async def test_points_at_the_field_and_gives_details(self, client: httpx.AsyncClient) -> None:
        body = (await client.get("/v1/trouble/refused")).json()
        assert (body["errors"][0]["pointer"], body["limit"]) == ("/size", 3)

    async def test_says_when_to_come_back(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/v1/trouble/unavailable")).headers["retry-after"] == "7"

    async def test_tells_nothing_of_a_bug(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/v1/bug")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert "patient" not in answer.text

    async def test_calls_a_lost_database_unavailable(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/v1/outage")
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "database_unavailable", "1")

    @pytest.mark.parametrize(
        ("method", "path", "status"), [("GET", "/v1/nothing", 404), ("DELETE", "/v1/things", 405), ("GET", "/docs", 404)]
    )
    async def test_an_address_or_method_nobody_has(self, method: str, path: str, status: int, client: httpx.AsyncClient) -> None:
        answer = await client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (status, f"http_{status}")

    @pytest.mark.parametrize(
        ("body", "status", "pointer"),
        [
            (b"[]", 422, "/"),
            (b"{}", 422, "/name"),
            (b'{"name": "x", "size": "secret-text"}', 422, "/size"),
            (b'{"name": "x", "a/b~c": 1}', 422, "/a~1b~0c"),
            (b'{"name": ""}', 422, "/name"),
        ],
    )
    async def test_bad_input_is_pointed_at_and_not_repeated(
        self, body: bytes, status: int, pointer: str, client: httpx.AsyncClient, as_user: Headers, counter: Counter
    ) -> None:
        answer = await client.post("/v1/things", content=body, headers={**as_user, "content-type": "application/json"})
        assert (answer.status_code, counter.runs) == (status, 0)
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert "secret-text" not in answer.text

    async def test_a_query_parameter_nobody_knows_is_refused(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        answer = await client.get("/v1/things", params={"sort": "ssn"}, headers=as_user)
        assert (answer.status_code, answer.json()["code"], answer.json()["parameters"]) == (422, "parameter_unknown", ["cursor", "limit"])

    async def test_a_query_parameter_given_twice_is_refused(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        answer = await client.get("/v1/things?limit=1&limit=2", headers=as_user)
        assert (answer.status_code, answer.json()["code"]) == (422, "parameter_repeated")

    async def test_nobody_learns_what_input_would_be_right_without_a_token(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/things", json={})
        assert (answer.status_code, answer.headers["www-authenticate"], answer.json()["code"]) == (401, "Bearer", "token_missing")


class TestLimits:
    async def test_refuses_a_body_that_says_it_is_too_large(self, client: httpx.AsyncClient, as_user: Headers, counter: Counter) -> None:
        answer = await client.post("/v1/things", content=b"x" * (MAX_BODY_BYTES + 1), headers=as_user)
        assert (answer.status_code, answer.json()["code"], counter.runs) == (413, "http_413", 0)

    async def test_refuses_a_body_that_turns_out_too_large(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        async def endless() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b" " * (MAX_BODY_BYTES // 2)

        answer = await client.post("/v1/things", content=endless(), headers={**as_user, "content-type": "application/json"})
        assert answer.status_code == 413


class TestCorrelation:
    async def test_is_taken_over_and_given_back(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/v1/version", headers={"X-Correlation-Id": "request-17"})
        assert answer.headers["x-correlation-id"] == "request-17"

    @pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ä", "a;b"])
    async def test_is_made_when_it_cannot_be_one(self, given: str, client: httpx.AsyncClient) -> None:
        answer = await client.get("/v1/version", headers=[(b"X-Correlation-Id", given.encode())])
        assert UUID(answer.headers["x-correlation-id"])

    async def test_reaches_what_is_said(self, client: httpx.AsyncClient, as_user: Headers, work: Work, practice: UUID) -> None:
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        sent = {**as_user, "X-Correlation-Id": "request-17", "traceparent": trace}
        await client.post("/v1/things", json={"name": "x"}, headers=sent)
        async with work.batch([practice], Principal.system("test")) as tx:
            row = await tx.row("SELECT correlation_id, causation_id, traceparent FROM outbox WHERE practice_id = $1", practice)
        assert row is not None
        assert (row["correlation_id"], row["causation_id"]) == ("request-17", "")
        assert row["traceparent"].split("-")[1] == trace.split("-")[1]
        assert row["traceparent"] != trace


class TestIdempotency:
    @pytest.fixture
    def keyed(self, as_user: Headers) -> Headers:
        return {**as_user, "Idempotency-Key": str(uuid4())}

    async def test_the_same_request_gets_the_same_answer(self, client: httpx.AsyncClient, keyed: Headers, counter: Counter) -> None:
        first = await client.post("/v1/things", json={"name": "x"}, headers=keyed)
        again = await client.post("/v1/things", json={"name": "x"}, headers=keyed)
        assert (again.status_code, again.content, again.headers["location"]) == (201, first.content, first.headers["location"])
        assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"], counter.runs) == (False, "true", 1)

    async def test_another_request_under_the_same_key_is_refused(self, client: httpx.AsyncClient, keyed: Headers, counter: Counter) -> None:
        await client.post("/v1/things", json={"name": "x"}, headers=keyed)
        answer = await client.post("/v1/things", json={"name": "y"}, headers=keyed)
        assert (answer.status_code, answer.json()["code"], counter.runs) == (422, "idempotency_key_reused", 1)

    async def test_while_the_first_runs_the_second_is_told_so(self, client: httpx.AsyncClient, keyed: Headers, counter: Counter) -> None:
        counter.gate = asyncio.Event()
        first = asyncio.create_task(client.post("/v1/things", json={"name": "x"}, headers=keyed))
        await counter.reached.wait()
        second = await client.post("/v1/things", json={"name": "x"}, headers=keyed)
        counter.gate.set()
        assert (second.status_code, second.json()["code"]) == (409, "request_in_flight")
        assert ((await first).status_code, counter.runs) == (201, 1)

    async def test_a_refusal_is_not_kept(self, client: httpx.AsyncClient, keyed: Headers, counter: Counter) -> None:
        for _ in range(2):
            assert (await client.post("/v1/things", json={"name": "forbidden"}, headers=keyed)).status_code == 403
        assert counter.runs == 2

    async def test_a_key_belongs_to_one_caller(self, client: httpx.AsyncClient, join: Join, practice: UUID, counter: Counter) -> None:
        key = str(uuid4())
        for _ in range(2):
            sent = {**await join(Role.REGULAR_USER, practice), "Idempotency-Key": key}
            assert (await client.post("/v1/things", json={"name": "x"}, headers=sent)).status_code == 201
        assert counter.runs == 2

    @pytest.mark.parametrize("key", ["", "x" * 201, "a\tb", "ä"])
    async def test_a_key_that_is_none_is_refused(self, key: str, client: httpx.AsyncClient, as_user: Headers, counter: Counter) -> None:
        sent = {**as_user, "Idempotency-Key": key.encode()}
        answer = await client.post("/v1/things", json={"name": "x"}, headers=sent)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"], counter.runs) == (422, "idempotency_key_invalid", 0)

    async def test_an_answer_is_kept_where_nobody_can_read_it(
        self, client: httpx.AsyncClient, keyed: Headers, practice: UUID, superuser: Any
    ) -> None:
        await client.post("/v1/things", json={"name": "shown once"}, headers=keyed)
        (body,) = superuser.execute("SELECT body FROM patients.idempotency WHERE practice_id = %s", [practice]).fetchone()
        assert b"shown once" not in body

    async def test_a_key_is_forgotten_after_a_day(
        self, client: httpx.AsyncClient, keyed: Headers, counter: Counter, practice: UUID, superuser: Any
    ) -> None:
        await client.post("/v1/things", json={"name": "x"}, headers=keyed)
        superuser.execute("UPDATE patients.idempotency SET created_at = now() - interval '25 hours' WHERE practice_id = %s", [practice])
        assert (await client.post("/v1/things", json={"name": "y"}, headers=keyed)).status_code == 201
        assert counter.runs == 2


class TestPages:
    async def test_go_to_the_end(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        seen: list[int] = []
        query: dict[str, str] = {}
        while True:
            page = (await client.get("/v1/things", params=query, headers=as_user)).json()
            seen += page["items"]
            if page["next_cursor"] is None:
                break
            query = {"cursor": page["next_cursor"]}
        assert seen == [0, 1, 2, 3, 4]

    async def test_a_cursor_of_another_practice_is_refused(self, client: httpx.AsyncClient, as_user: Headers, as_stranger: Headers) -> None:
        cursor = (await client.get("/v1/things", headers=as_user)).json()["next_cursor"]
        answer = await client.get("/v1/things", params={"cursor": cursor}, headers=as_stranger)
        assert (answer.status_code, answer.json()["code"], answer.json()["errors"][0]["pointer"]) == (422, "cursor_invalid", "/cursor")


class TestRoles:
    async def test_a_role_is_required(self, client: httpx.AsyncClient, as_user: Headers, as_admin: Headers) -> None:
        assert (await client.get("/v1/admins", headers=as_user)).json()["code"] == "permission_missing"
        assert (await client.get("/v1/admins", headers=as_admin)).status_code == 200

    async def test_only_vantage_admins_enter_a_practice_they_name(
        self, client: httpx.AsyncClient, as_admin: Headers, as_vantage_admin: Headers, practice: UUID
    ) -> None:
        assert (await client.get(f"/v1/practices/{practice}", headers=as_admin)).status_code == 403
        assert (await client.get(f"/v1/practices/{practice}", headers=as_vantage_admin)).json() == {"practice": str(practice)}

    async def test_a_vantage_admin_has_no_practice_to_work_in(self, client: httpx.AsyncClient, as_vantage_admin: Headers) -> None:
        assert (await client.post("/v1/things", json={"name": "x"}, headers=as_vantage_admin)).status_code == 403


class TestIfMatch:
    @pytest.mark.parametrize(("given", "read"), [(None, None), ("*", None), ('"17"', 17)])
    async def test_is_read(self, given: str | None, read: int | None, client: httpx.AsyncClient) -> None:
        answer = await client.get("/v1/version", headers={"If-Match": given} if given else {})
        assert answer.json() == {"if_match": read}

    @pytest.mark.parametrize("given", ["17", 'W/"17"', '"a"', '"1", "2"', '""', '"' + "9" * 19 + '"'])
    async def test_is_refused_when_it_is_none_of_ours(self, given: str, client: httpx.AsyncClient) -> None:
        answer = await client.get("/v1/version", headers={"If-Match": given})
        assert (answer.status_code, answer.json()["code"]) == (422, "if_match_invalid")


class TestHealth:
    async def test_lives_and_is_ready(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).json() == {"status": "ok", "checks": {"database": "ok"}}

    async def test_is_not_ready_while_something_is_away(self, client: httpx.AsyncClient, health: dict[str, str]) -> None:
        health["kafka"] = "rebalancing"
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["kafka"]) == (503, "rebalancing")
        assert (await client.get("/livez")).status_code == 200

    async def test_counts_by_route_and_never_by_address(self, client: httpx.AsyncClient, as_vantage_admin: Headers, practice: UUID) -> None:
        await client.get(f"/v1/practices/{practice}", headers=as_vantage_admin)
        text = (await client.get("/metrics")).text
        assert "/v1/practices/{practice_id}" in text
        assert str(practice) not in text


TYPES = {
    "xml": ({"content-type": "text/xml"}, 415),
    "a form": ({"content-type": "multipart/form-data; boundary=x"}, 415),
    "no type": ({}, 415),
    "UTF-7": ({"content-type": "application/json; charset=utf-7"}, 415),
    "UTF-16": ({"content-type": "application/json; charset=utf-16"}, 415),
    "compressed": ({"content-type": "application/json", "content-encoding": "gzip"}, 415),
    "UTF-8 said aloud": ({"content-type": 'Application/JSON; charset="UTF-8"'}, 401),
}


@pytest.mark.parametrize("what", TYPES)
async def test_takes_json_and_nothing_else(what: str, client: httpx.AsyncClient) -> None:
    headers, status = TYPES[what]
    answer = await client.post("/v1/things", content=b"{}", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
