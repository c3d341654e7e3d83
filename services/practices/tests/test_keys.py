"""API keys: shown once, good for what they were made for, from where they were made for, until they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.practices import ApiKeyCreated, ApiKeyRevoked
from libs.testing.fixtures import GATEWAY_PROOF, Headers, Outbox
from services.practices.commands import authorize
from services.practices.rules.keys import address_allowed, make_key, read_key

GATEWAY = {"X-Vantage-Gateway": GATEWAY_PROOF, "X-Vantage-Client": "192.0.2.7"}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of what is remembered; change its first value to move it."""
    now = [1000.0]
    monkeypatch.setattr(authorize, "monotonic", lambda: now[0])
    return now


async def make(client: httpx.AsyncClient, headers: Headers, **fields: Any) -> httpx.Response:
    return await client.post("/v1/api-keys", json={"name": "Website", "scopes": ["appointments:read"], **fields}, headers=headers)


async def ask(client: httpx.AsyncClient, key: str, **headers: str) -> httpx.Response:
    """As the gateway asks before it passes a request on."""
    return await client.get("/internal/authorize/v1/appointments", headers={**GATEWAY, "X-Api-Key": key, **headers})


class TestText:
    @given(st.binary(min_size=6, max_size=6), st.binary(min_size=32, max_size=32))
    def test_is_read_as_it_was_made(self, identifier: bytes, secret: bytes) -> None:
        key = make_key(identifier, secret)
        assert read_key(key.text) == key

    @given(st.data())
    def test_a_mistyped_one_is_none(self, data: st.DataObject) -> None:
        text = make_key(bytes(6), bytes(range(32))).text
        place = data.draw(st.integers(0, len(text) - 1))
        letter = data.draw(st.sampled_from("0Zz_").filter(lambda letter: letter != text[place]))
        assert read_key(text[:place] + letter + text[place + 1 :]) is None

    @pytest.mark.parametrize("text", ["", "vk_live_", "vk_live_00000000_" + "0" * 43, "x" * 10_000, "vk_live_ÄÄÄÄÄÄÄÄ"])
    def test_anything_else_is_none(self, text: str) -> None:
        assert read_key(text) is None

    @pytest.mark.parametrize(
        ("address", "blocks", "allowed"),
        [
            ("192.0.2.7", [], True),
            ("192.0.2.7", ["192.0.2.0/24"], True),
            ("::ffff:192.0.2.7", ["192.0.2.0/24"], True),
            ("192.0.3.7", ["192.0.2.0/24", "2001:db8::/32"], False),
            ("2001:db8::1", ["2001:db8::/32"], True),
            ("", ["192.0.2.0/24"], False),
        ],
    )
    def test_addresses(self, address: str, blocks: list[str], allowed: bool) -> None:
        assert address_allowed(address, blocks) is allowed


class TestCreate:
    async def test_shows_the_key_once(self, client: httpx.AsyncClient, as_admin: Headers, practice: UUID, outbox: Outbox) -> None:
        made = (await make(client, as_admin)).json()
        assert made["key"].startswith(made["prefix"])
        (listed,) = (await client.get("/v1/api-keys", headers=as_admin)).json()["items"]
        assert "key" not in listed
        said = (await outbox(practice))[-1]
        assert isinstance(said, ApiKeyCreated)
        assert made["key"] not in said.model_dump_json()

    async def test_is_kept_as_a_digest_only(self, client: httpx.AsyncClient, as_admin: Headers, superuser: Any) -> None:
        made = (await make(client, {**as_admin, "Idempotency-Key": "once"})).json()
        for table in ("api_key", "api_key_directory", "outbox", "idempotency"):
            rows = superuser.execute(f"SELECT t::text FROM practices.{table} t").fetchall()
            assert not [row for (row,) in rows if made["key"] in row or made["key"].encode().hex() in row]

    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            ({"scopes": []}, "/scopes"),
            ({"scopes": ["users:write"]}, "/scopes/0"),
            ({"scopes": ["everything"]}, "/scopes/0"),
            ({"addresses": ["192.0.2.7/24"]}, "/addresses/0"),
            ({"addresses": ["home"]}, "/addresses/0"),
            ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
            ({"expires_at": "2099-01-01T00:00:00"}, "/expires_at"),
        ],
    )
    async def test_points_at_what_is_wrong(
        self, fields: dict[str, Any], pointer: str, client: httpx.AsyncClient, as_admin: Headers
    ) -> None:
        answer = await make(client, as_admin, **fields)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)

    async def test_is_for_practice_admins(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        assert (await make(client, as_user)).status_code == 403


class TestUse:
    async def test_becomes_a_token_of_the_house_with_its_scopes(self, client: httpx.AsyncClient, as_admin: Headers, practice: UUID) -> None:
        made = (await make(client, as_admin, scopes=["practice:read"])).json()
        answer = await ask(client, made["key"])
        assert (answer.status_code, answer.headers["x-key-id"], answer.headers["x-practice-id"]) == (200, made["id"], str(practice))
        claims = jwt.decode(answer.headers["authorization"].removeprefix("Bearer "), options={"verify_signature": False})
        assert (claims["practice_id"], claims["scopes"], claims["exp"] - claims["iat"]) == (str(practice), ["practice:read"], 60)
        passed_on = {"Authorization": answer.headers["authorization"]}
        me = (await client.get("/v1/me", headers=passed_on)).json()
        assert (me["key_id"], me["permissions"], me["user"]) == (made["id"], ["me:read", "practice:read"], None)
        assert (await client.get("/v1/users", headers=passed_on)).json()["code"] == "permission_missing"
        (listed,) = (await client.get("/v1/api-keys", headers=as_admin)).json()["items"]
        assert listed["last_used_at"] is not None

    async def test_only_the_gateway_may_ask(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        made = (await make(client, as_admin)).json()
        answer = await client.get("/internal/authorize", headers={"X-Api-Key": made["key"], "X-Vantage-Gateway": "0" * 64})
        assert (answer.status_code, answer.json()["code"]) == (403, "gateway_only")

    async def test_every_wrong_key_gets_the_same_answer(self, client: httpx.AsyncClient, as_admin: Headers, clock: list[float]) -> None:
        revoked = (await make(client, as_admin)).json()
        await client.delete(f"/v1/api-keys/{revoked['id']}", headers=as_admin)
        known = (await make(client, as_admin)).json()["key"]
        forged = make_key(bytes(6), bytes(32)).text
        same_id = known[:17] + forged[17:]
        answers = [await ask(client, key) for key in (revoked["key"], forged, same_id, known[:-1] + "!", "")]
        told = [{name: value for name, value in answer.json().items() if name != "trace_id"} for answer in answers]
        assert ({answer.status_code for answer in answers}, told) == ({401}, [told[0]] * 5)

    async def test_a_revoked_one_stops_within_seconds(
        self, client: httpx.AsyncClient, as_admin: Headers, clock: list[float], practice: UUID, outbox: Outbox
    ) -> None:
        made = (await make(client, as_admin)).json()
        assert (await ask(client, made["key"])).status_code == 200
        for _ in range(2):
            assert (await client.delete(f"/v1/api-keys/{made['id']}", headers=as_admin)).status_code == 204
        clock[0] += authorize.REMEMBERED_SECONDS + 1
        assert (await ask(client, made["key"])).status_code == 401
        assert len([message for message in await outbox(practice) if isinstance(message, ApiKeyRevoked)]) == 1

    async def test_an_expired_one_does_not_count(
        self, client: httpx.AsyncClient, as_admin: Headers, superuser: Any, clock: list[float]
    ) -> None:
        soon = datetime.now(UTC) + timedelta(hours=1)
        made = (await make(client, as_admin, expires_at=soon.isoformat())).json()
        assert (await ask(client, made["key"])).status_code == 200
        superuser.execute("UPDATE practices.api_key SET expires_at = now() - interval '1 second' WHERE id = %s", [made["id"]])
        clock[0] += authorize.REMEMBERED_SECONDS + 1
        assert (await ask(client, made["key"])).status_code == 401

    async def test_counts_from_its_addresses_only(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        made = (await make(client, as_admin, addresses=["192.0.2.0/28"])).json()
        assert (await ask(client, made["key"])).status_code == 200
        answer = await ask(client, made["key"], **{"X-Vantage-Client": "203.0.113.9"})
        assert (answer.status_code, answer.json()["code"]) == (403, "address_not_allowed")


class TestRotate:
    async def test_both_count_during_the_overlap(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        old = (await make(client, as_admin)).json()
        new = (await client.post(f"/v1/api-keys/{old['id']}/rotate", json={"overlap_hours": 1}, headers=as_admin)).json()
        assert (new["replaces"], new["scopes"]) == (old["id"], old["scopes"])
        assert [(await ask(client, key["key"])).status_code for key in (old, new)] == [200, 200]

    async def test_without_overlap_the_old_one_ends(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        old = (await make(client, as_admin)).json()
        new = (await client.post(f"/v1/api-keys/{old['id']}/rotate", json={"overlap_hours": 0}, headers=as_admin)).json()
        assert [(await ask(client, key["key"])).status_code for key in (old, new)] == [401, 200]
        again = await client.post(f"/v1/api-keys/{old['id']}/rotate", json={}, headers=as_admin)
        assert (again.status_code, again.json()["code"]) == (409, "api_key_ended")

    async def test_finds_no_key_of_another_practice(self, client: httpx.AsyncClient, as_admin: Headers, as_stranger: Headers) -> None:
        made = (await make(client, as_admin)).json()
        assert (await client.delete(f"/v1/api-keys/{made['id']}", headers=as_stranger)).status_code == 404
        assert (await client.post(f"/v1/api-keys/{made['id']}/rotate", json={}, headers=as_stranger)).status_code == 404
