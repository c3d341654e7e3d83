"""Runs by hand for the patients of a saved filter: as it is known when asked, whoever may use it, and what is said when it may not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.auth import Role
from libs.common.ids import new_id
from libs.common.work import Work
from libs.contracts.patients import FilterVisibility
from libs.testing.fixtures import Join
from services.workflows.commands.filters import ON_ITS_WAY
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import HAS_EMAIL, HAS_NO_EMAIL, Kept, send
from services.workflows.tests.steering import Client, Headers, by_hand, done, patients, post

Answer = tuple[int, str, list[str]]
Ask = Callable[..., Awaitable[Answer]]
DONE: Answer = (200, "", [])
UNKNOWN, NOT_YET = (422, "saved_filter_unknown"), (503, "saved_filter_not_yet")


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    return driver


@pytest.fixture
async def workflow(engine: BuiltinDriver) -> UUID:
    return await engine.publish(by_hand(send()))


@pytest.fixture
def ask(client: Client, workflow: UUID) -> Ask:
    """Asks the preview and the start alike; returns their common answer: status, code, and pointers."""

    async def both(headers: Headers, filter_id: object, **more: Any) -> Answer:
        said = list[Answer]()
        for path in ("runs/preview", "runs"):
            answer = await client.post(f"/v1/workflows/{workflow}/{path}", json={"saved_filter": str(filter_id), **more}, headers=headers)
            if answer.is_success:
                said.append(DONE)
                continue
            body = answer.json()
            said.append((answer.status_code, body["code"], [error["pointer"] for error in body["errors"]]))
            assert (answer.status_code == 503) == ("retry-after" in answer.headers)
        assert said[0] == said[1]
        return said[0]

    return both


@pytest.fixture
async def me(join: Join, practice: UUID) -> tuple[str, Headers]:
    """An admin, as actor and as caller."""
    user = uuid4()
    return f"user:{user}", await join(Role.PRACTICE_ADMIN, practice, user_id=user)


class TestStart:
    async def test_preview_and_start_say_which_filter_was_meant_and_reach_whom_it_finds(
        self, client: Client, engine: BuiltinDriver, workflow: UUID, as_admin: Headers
    ) -> None:
        found = await patients(engine, 3)
        await patients(engine, 2, None)
        kept = Kept()
        await engine.deliver(kept.saved())
        wish = {"saved_filter": str(kept.id)}
        meant = {"id": str(kept.id), "name": "By e-mail", "version": 1}
        preview = await post(client, f"/v1/workflows/{workflow}/runs/preview", as_admin, wish)
        assert (preview["found"], preview["looked_at"], preview["saved_filter"]) == (3, 5, meant)
        came = await post(client, f"/v1/workflows/{workflow}/runs", as_admin, wish, 201)
        assert (came["decision"], came["saved_filter"]) == ("job", meant)
        assert came["job"]["wish"] == {"filter": HAS_EMAIL, "saved_filter": meant, "values": {}}
        await done(engine, client, as_admin, came["job"])
        assert {request.patient_id for request in await engine.requests()} == {visit.patient_id for visit in found}

    async def test_a_job_keeps_the_filter_as_it_was_when_it_was_asked_for(
        self, client: Client, engine: BuiltinDriver, workflow: UUID, as_admin: Headers
    ) -> None:
        await patients(engine, 3)
        await patients(engine, 2, None)
        kept = Kept()
        await engine.deliver(kept.saved())
        job = (await post(client, f"/v1/workflows/{workflow}/runs", as_admin, {"saved_filter": str(kept.id)}, 201))["job"]
        await engine.deliver(kept.changed(condition=HAS_NO_EMAIL), kept.removed())
        ended = await done(engine, client, as_admin, job)
        assert (ended["done"], ended["passed"]) == (3, 2)

    async def test_a_written_filter_names_none(self, client: Client, engine: BuiltinDriver, workflow: UUID, as_admin: Headers) -> None:
        await patients(engine, 1)
        came = await post(client, f"/v1/workflows/{workflow}/runs", as_admin, {"filter": "true"}, 201)
        assert (came["saved_filter"], came["job"]["wish"]) == (None, {"filter": "true", "values": {}})

    @pytest.mark.parametrize(
        "wish",
        [
            {"filter": "true", "saved_filter": str(uuid4())}, {"saved_filter": str(uuid4()), "patient_id": str(uuid4())},
            {"saved_filter": str(uuid4()), "appointment_id": str(uuid4())}, {"filter": "true", "filter_version": 1}, {"filter_version": 1},
            {"saved_filter": "By e-mail"}, {"saved_filter": str(uuid4()), "filter_version": 0},
        ],
    )  # fmt: skip
    async def test_exactly_one_filter_is_meant(self, wish: dict[str, Any], client: Client, workflow: UUID, as_admin: Headers) -> None:
        refused = await post(client, f"/v1/workflows/{workflow}/runs", as_admin, wish, 422)
        assert refused["code"] == "invalid_input"

    async def test_a_preview_needs_one(self, client: Client, workflow: UUID, as_admin: Headers) -> None:
        for wish in ({}, {"filter": None}, {"patient_id": str(uuid4())}):
            assert (await post(client, f"/v1/workflows/{workflow}/runs/preview", as_admin, wish, 422))["code"] == "invalid_input"


class TestWhose:
    async def test_a_private_filter_is_for_its_owner_alone(
        self, engine: BuiltinDriver, ask: Ask, me: tuple[str, Headers], as_admin: Headers
    ) -> None:
        actor, headers = me
        kept = Kept(owned_by=actor, visibility=FilterVisibility.PRIVATE)
        await engine.deliver(kept.saved())
        assert await ask(headers, kept.id) == DONE
        assert await ask(as_admin, kept.id) == await ask(as_admin, uuid4()) == (*UNKNOWN, ["/saved_filter"])

    async def test_one_that_is_shared_no_more_is_for_its_owner_alone(self, engine: BuiltinDriver, ask: Ask, as_admin: Headers) -> None:
        kept = Kept()
        await engine.deliver(kept.saved(), kept.changed(visibility=FilterVisibility.PRIVATE))
        assert await ask(as_admin, kept.id) == (*UNKNOWN, ["/saved_filter"])

    async def test_another_practices_is_nobodys(self, engine: BuiltinDriver, ask: Ask, as_admin: Headers) -> None:
        kept = Kept()
        await engine.deliver_elsewhere(uuid4(), kept.saved())
        assert await ask(as_admin, kept.id) == (*UNKNOWN, ["/saved_filter"])

    async def test_a_removed_one_is_gone_and_its_words_with_it(self, engine: BuiltinDriver, ask: Ask, as_admin: Headers) -> None:
        kept = Kept(id=new_id())
        await engine.deliver(kept.saved(), kept.removed(), kept.changed(name="Late news"))
        assert await ask(as_admin, kept.id) == (*UNKNOWN, ["/saved_filter"])
        async with engine.work(engine.admin) as tx:
            row = await tx.row("SELECT name, condition FROM patient_filter WHERE practice_id = $1", engine.practice)
        assert dict(row or {}) == {"name": "", "condition": {}}


class TestOnItsWay:
    async def test_one_saved_just_now_is_asked_for_again_in_a_moment(self, engine: BuiltinDriver, ask: Ask, as_admin: Headers) -> None:
        kept = Kept(id=new_id())
        assert await ask(as_admin, kept.id) == (*NOT_YET, ["/saved_filter"])
        await engine.deliver(kept.saved())
        assert await ask(as_admin, kept.id) == DONE

    async def test_somebody_elses_own_is_answered_as_one_that_is_not_there(
        self, engine: BuiltinDriver, ask: Ask, as_admin: Headers
    ) -> None:
        kept = Kept(id=new_id(), visibility=FilterVisibility.PRIVATE)
        await engine.deliver(kept.saved())
        assert await ask(as_admin, kept.id) == await ask(as_admin, new_id()) == (*NOT_YET, ["/saved_filter"])

    async def test_one_that_never_came_is_unknown_after_a_while(self, ask: Ask, as_admin: Headers, engine: BuiltinDriver) -> None:
        old = UUID(int=new_id().int - (int(ON_ITS_WAY / timedelta(milliseconds=1)) << 80))
        to_come = UUID(int=new_id().int + (int(2 * ON_ITS_WAY / timedelta(milliseconds=1)) << 80))
        assert [await ask(as_admin, one) for one in (old, to_come)] == [(*UNKNOWN, ["/saved_filter"])] * 2

    async def test_the_version_that_was_looked_at_is_the_one_that_counts(self, engine: BuiltinDriver, ask: Ask, as_admin: Headers) -> None:
        kept = Kept()
        await engine.deliver(kept.saved())
        assert await ask(as_admin, kept.id, filter_version=1) == DONE
        assert await ask(as_admin, kept.id, filter_version=2) == (*NOT_YET, ["/filter_version"])
        await engine.deliver(kept.changed(name="Renamed"))
        assert await ask(as_admin, kept.id, filter_version=1) == (409, "saved_filter_changed", ["/filter_version"])
        assert await ask(as_admin, kept.id, filter_version=2) == DONE


class TestProjection:
    async def test_older_news_and_repeated_news_change_nothing(
        self, engine: BuiltinDriver, client: Client, workflow: UUID, as_admin: Headers
    ) -> None:
        kept = Kept()
        first = kept.saved()
        newer = kept.changed(name="Renamed")
        await engine.deliver(newer, first, newer, first)
        preview = await post(client, f"/v1/workflows/{workflow}/runs/preview", as_admin, {"saved_filter": str(kept.id)})
        assert (preview["saved_filter"]["name"], preview["saved_filter"]["version"]) == ("Renamed", 2)


class TestUnusable:
    @pytest.mark.parametrize(
        ("block", "at"),
        [
            ({"field": "patient.shoe_size", "operator": "at_least", "value": 40}, "/condition/blocks/all/0/field"),
            ({"field": "patient.email", "operator": "at_most", "value": 3}, "/condition/blocks/all/0/operator"),
            ({"field": "patient.tags", "operator": "contains_any", "value": "Recall"}, "/condition/blocks/all/0/value"),
        ],
    )
    async def test_what_means_nothing_here_is_said_with_its_place_in_the_filter(
        self, block: dict[str, Any], at: str, client: Client, engine: BuiltinDriver, workflow: UUID, as_admin: Headers
    ) -> None:
        kept = Kept({"blocks": {"all": [block]}})
        await engine.deliver(kept.saved())
        refused = await post(client, f"/v1/workflows/{workflow}/runs", as_admin, {"saved_filter": str(kept.id)}, 422)
        assert (refused["code"], refused["errors"][0]["pointer"], refused["at"]) == ("filter_invalid", "/saved_filter", at)
