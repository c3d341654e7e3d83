"""Saved filters: kept under a name, private or shared, refused by the place of what they cannot mean, and applied to the list."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.auth import Permission, Principal, Role
from libs.common.work import Work
from libs.contracts.conditions import MAX_CHOICES, MAX_FOLDED, MAX_PARTS, Blocks
from libs.contracts.envelope import Message
from libs.contracts.patients import (
    PatientFilterChanged,
    PatientFilterRemoved,
    PatientFilterSaved,
    PatientFiltersViewed,
    PatientsListed,
)
from libs.testing.fixtures import Join
from libs.testing.patient_filters import CASES, PEOPLE, block, whole
from services.patients.commands import filters
from services.patients.commands.records import RegisterPatient, register_patient
from services.patients.commands.tags import AddTag, add_tag
from services.patients.queries.filters import found_by
from services.patients.queries.records import patients_by_name
from services.patients.rules.filters import faults

Outbox = Callable[[UUID], Awaitable[list[Message]]]
Headers = dict[str, str]
Client = httpx.AsyncClient
PATH = "/v1/patient-filters"
RECALL = whole(block("tags", "contains", "Recall"))


def wish(name: str = "Recall", visibility: str = "shared", condition: Any = RECALL) -> dict[str, Any]:
    return {"name": name, "visibility": visibility, "condition": condition}


async def saved(client: Client, headers: Headers, **given: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json=wish(**given), headers=headers)
    assert answer.status_code == 201, answer.text
    view: dict[str, Any] = answer.json()
    return view


async def names(client: Client, headers: Headers, **query: Any) -> list[str]:
    answer = await client.get(PATH, params=query, headers=headers)
    return [one["name"] for one in answer.json()["items"]]


def refusal(answer: httpx.Response) -> tuple[int, str, list[str]]:
    return answer.status_code, answer.json()["code"], [error["pointer"] for error in answer.json().get("errors", [])]


@pytest.fixture
async def colleague(join: Join, practice: UUID) -> Headers:
    return await join(Role.REGULAR_USER, practice)


@pytest.fixture
async def another_admin(join: Join, practice: UUID) -> Headers:
    return await join(Role.PRACTICE_ADMIN, practice)


async def people(work: Work, practice: UUID) -> None:
    async with work(Principal.system("test", practice)) as tx:
        for person in PEOPLE:
            details = asdict(person)
            tags = details.pop("tags")
            patient = await register_patient(RegisterPatient(**details), tx)
            await tx.flush()
            for tag in tags:
                await add_tag(patient.id, AddTag(tag=tag), tx)


class TestSave:
    async def test_is_kept_as_it_was_written_and_said_once(self, client: Client, as_admin: Headers, practice: UUID, outbox: Outbox) -> None:
        headers = {**as_admin, "Idempotency-Key": str(uuid4())}
        answers = [await client.post(PATH, json=wish(" Recall  by mail "), headers=headers) for _ in range(2)]
        view = answers[0].json()
        assert (answers[0].status_code, answers[0].headers["etag"], answers[0].headers["location"]) == (201, '"1"', f"{PATH}/{view['id']}")
        assert (answers[1].json(), view["condition"], view["version"]) == (view, RECALL, 1)
        assert await outbox(practice) == [
            PatientFilterSaved(
                filter_id=UUID(view["id"]), version=1, owned_by=view["owned_by"], visibility="shared", name=view["name"],
                condition=Blocks.model_validate(RECALL),
            )
        ]  # fmt: skip

    async def test_is_private_unless_one_says_otherwise(self, client: Client, as_admin: Headers) -> None:
        view = (await client.post(PATH, json={"name": "Mine", "condition": RECALL}, headers=as_admin)).json()
        assert view["visibility"] == "private"

    @pytest.mark.parametrize(
        ("condition", "pointer"),
        [
            (whole(block("emial", "is_empty")), "/condition/blocks/all/0/field"),
            (whole({"field": "email", "operator": "is_empty"}), "/condition/blocks/all/0/field"),
            (whole({"field": "event.title", "operator": "is_empty"}), "/condition/blocks/all/0/field"),
            (whole(block("email", "before", "2030-01-31T09:30:00Z")), "/condition/blocks/all/0/operator"),
            (whole(block("email", "is_true")), "/condition/blocks/all/0/operator"),
            (whole(block("tags", "equals", "Recall")), "/condition/blocks/all/0/operator"),
            (whole(block("email", "equals")), "/condition/blocks/all/0/value"),
            (whole(block("email", "equals", 5)), "/condition/blocks/all/0/value"),
            (whole(block("email", "one_of", "x")), "/condition/blocks/all/0/value"),
            (whole(block("email", "one_of", [])), "/condition/blocks/all/0/value"),
            (whole(block("email", "one_of", ["x"] * (MAX_CHOICES + 1))), "/condition/blocks/all/0/value"),
            (whole(block("email", "one_of", ["x", 1])), "/condition/blocks/all/0/value/1"),
            (whole(block("tags", "contains_all", ["x", None])), "/condition/blocks/all/0/value/1"),
            (whole(block("email", "equals", "x" * (MAX_FOLDED + 1), ignore_case=True)), "/condition/blocks/all/0/value"),
            (whole(block("birth_date", "before")), "/condition/blocks/all/0/value"),
            (whole(block("birth_date", "after", "1987")), "/condition/blocks/all/0/value"),
            (whole(block("birth_date", "after", "1987-02-30")), "/condition/blocks/all/0/value"),
            (whole(block("birth_date", "before", "1987-04-12", ignore_case=True)), "/condition/blocks/all/0/ignore_case"),
            (whole(block("tags", "contains", "x", ignore_case=True)), "/condition/blocks/all/0/ignore_case"),
            (whole(block("email", "is_empty"), {"any": [block("email", "hits", "x")]}), "/condition/blocks/all/1/any/0/operator"),
        ],
    )
    async def test_points_at_what_means_nothing_and_keeps_nothing(
        self, condition: Any, pointer: str, client: Client, as_admin: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        answer = await client.post(PATH, json=wish(condition=condition), headers=as_admin)
        assert refusal(answer) == (422, "condition_invalid", [pointer])
        assert await outbox(practice) == []

    async def test_names_every_fault_at_once_with_what_may_help(self, client: Client, as_admin: Headers) -> None:
        condition = whole(block("emial", "is_empty"), block("email", "start_with", "x"))
        errors = (await client.post(PATH, json=wish(condition=condition), headers=as_admin)).json()["errors"]
        assert [(error["code"], error["hint"]) for error in errors] == [
            ("unknown_field", "did you mean 'patient.email'?"), ("unknown_operator", "did you mean 'starts_with'?"),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "condition",
        [
            None, "patient.email != null", {}, {"blocks": {}}, {"blocks": {"all": []}}, {"blocks": block("email", "is_empty")},
            {"blocks": {"all": [{"field": "patient.email"}]}}, {"jsonlogic": {"==": [1, 1]}},
            {"blocks": {"all": [{**block("email", "is_empty"), "sql": "true"}]}}, whole(*[block("email", "is_empty")] * MAX_PARTS),
            whole(block("email", "equals", "x" * 4001)), {"blocks": {"all": [block("email", "is_empty")]}, "cel": "true"},
        ],
    )  # fmt: skip
    async def test_refuses_what_is_no_condition_of_blocks(self, condition: Any, client: Client, as_admin: Headers) -> None:
        answer = await client.post(PATH, json=wish(condition=condition), headers=as_admin)
        code, pointers = answer.json()["code"], [error["pointer"] for error in answer.json()["errors"]]
        assert (answer.status_code, code, {pointer.split("/")[1] for pointer in pointers}) == (422, "invalid_input", {"condition"})

    async def test_refuses_one_nested_too_deeply(self, client: Client, as_admin: Headers) -> None:
        deep: dict[str, Any] = block("email", "is_empty")
        for _ in range(14):
            deep = {"all": [deep]}
        assert (await client.post(PATH, json=wish(condition={"blocks": deep}), headers=as_admin)).status_code == 201
        for _ in range(10):
            deep = {"all": [deep]}
        assert (await client.post(PATH, json=wish("deep", condition={"blocks": deep}), headers=as_admin)).status_code in {400, 422}

    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            ({"name": ""}, "/name"),
            ({"name": "x" * 201}, "/name"),
            ({"visibility": "public"}, "/visibility"),
            ({"owned_by": "me"}, "/owned_by"),
        ],
    )
    async def test_points_at_a_field_that_is_wrong(self, fields: dict[str, Any], pointer: str, client: Client, as_admin: Headers) -> None:
        assert refusal(await client.post(PATH, json=wish() | fields, headers=as_admin)) == (422, "invalid_input", [pointer])

    async def test_repeats_nothing_of_what_was_written(self, client: Client, as_admin: Headers) -> None:
        condition = whole(block("email", "secret-diagnosis", "x"), block("secret-diagnosis", "is_empty"))
        assert "secret-diagnosis" not in (await client.post(PATH, json=wish(condition=condition), headers=as_admin)).text


class TestName:
    async def test_is_one_among_the_shared_and_one_among_each_persons_own(
        self, client: Client, as_admin: Headers, another_admin: Headers
    ) -> None:
        for headers, visibility in ((as_admin, "shared"), (as_admin, "private"), (another_admin, "private")):
            await saved(client, headers, visibility=visibility)
        for headers, visibility in ((another_admin, "shared"), (as_admin, "private")):
            answer = await client.post(PATH, json=wish("  rECALL", visibility), headers=headers)
            assert refusal(answer) == (409, "filter_name_taken", ["/name"])

    async def test_is_taken_by_one_of_many_at_once(self, client: Client, as_admin: Headers, another_admin: Headers) -> None:
        answers = await asyncio.gather(*(client.post(PATH, json=wish(), headers=who) for who in (as_admin, another_admin) * 3))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]

    async def test_has_to_be_its_own_where_a_filter_goes(self, client: Client, as_admin: Headers) -> None:
        await saved(client, as_admin)
        mine = await saved(client, as_admin, visibility="private")
        shared = await client.patch(f"{PATH}/{mine['id']}", json={"visibility": "shared"}, headers=as_admin)
        both = await client.patch(f"{PATH}/{mine['id']}", json={"visibility": "shared", "name": "Recall 2"}, headers=as_admin)
        assert (refusal(shared), both.status_code) == ((409, "filter_name_taken", ["/name"]), 200)

    async def test_is_free_again_when_its_filter_is_gone(self, client: Client, as_admin: Headers) -> None:
        gone = await saved(client, as_admin)
        await client.delete(f"{PATH}/{gone['id']}", headers=as_admin)
        assert (await saved(client, as_admin))["id"] != gone["id"]

    async def test_there_are_so_many_and_no_more(self, client: Client, as_admin: Headers, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(filters, "MAX_FILTERS", 2)
        for name in "ab":
            await saved(client, as_admin, name=name)
        assert (await client.post(PATH, json=wish("c"), headers=as_admin)).json()["code"] == "too_many_filters"
        assert (await client.post(PATH, json=wish("c", "private"), headers=as_admin)).status_code == 201


class TestSee:
    async def test_shared_ones_and_ones_own_page_by_page_with_a_trace_of_the_reading(
        self, client: Client, as_admin: Headers, colleague: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        for name, visibility in (("d", "shared"), ("b", "private"), ("c", "shared")):
            await saved(client, as_admin, name=name, visibility=visibility)
        await saved(client, colleague, name="a", visibility="private")
        page = (await client.get(PATH, params={"limit": 2}, headers=as_admin)).json()
        assert [one["name"] for one in page["items"]] == ["b", "c"]
        assert await names(client, as_admin, limit=2, cursor=page["next_cursor"]) == ["d"]
        assert await names(client, colleague) == ["a", "c", "d"]
        viewed = [message for message in await outbox(practice) if isinstance(message, PatientFiltersViewed)]
        assert [len(message.filter_ids) for message in viewed] == [2, 1, 3]

    async def test_somebody_elses_private_one_is_not_there_for_anybody_whatever_they_want_of_it(
        self, client: Client, as_user: Headers, colleague: Headers, as_admin: Headers, as_stranger: Headers
    ) -> None:
        hidden = (await saved(client, as_user, visibility="private"))["id"]
        for headers in (colleague, as_admin, as_stranger):
            for filter_id in (hidden, str(uuid4())):
                answers = [
                    await client.get(f"{PATH}/{filter_id}", headers=headers),
                    await client.patch(f"{PATH}/{filter_id}", json={"name": "x"}, headers=headers),
                    await client.delete(f"{PATH}/{filter_id}", headers=headers),
                ]
                assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "filter_not_found")}
                listed = await client.get("/v1/patients", params={"saved_filter": filter_id}, headers=headers)
                assert refusal(listed) == (422, "saved_filter_unknown", ["/saved_filter"])
        assert (await client.get(f"{PATH}/{hidden}", headers=as_user)).status_code == 200

    async def test_a_key_reads_the_shared_ones(self, client: Client, as_admin: Headers, practice: UUID, with_key: Any) -> None:
        await saved(client, as_admin, name="private", visibility="private")
        await saved(client, as_admin)
        assert await names(client, with_key(practice, Permission.FILTERS_READ)) == ["Recall"]

    async def test_another_practices_are_not_there(self, client: Client, as_admin: Headers, as_stranger: Headers) -> None:
        await saved(client, as_admin)
        assert await names(client, as_stranger) == []


class TestChange:
    async def test_says_what_differs_and_only_when_something_does(
        self, client: Client, as_admin: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        path = f"{PATH}/{(await saved(client, as_admin))['id']}"
        other = whole(block("email", "is_empty"))
        answers = [
            await client.patch(path, json={"name": "Recall", "condition": RECALL}, headers=as_admin),
            await client.patch(path, json={"name": "No mail", "condition": other}, headers=as_admin),
            await client.patch(path, json={"visibility": "private"}, headers=as_admin),
        ]
        assert [(answer.status_code, answer.headers["etag"]) for answer in answers] == [(200, '"1"'), (200, '"2"'), (200, '"3"')]
        said = [message for message in await outbox(practice) if isinstance(message, PatientFilterChanged)]
        assert [(m.version, m.changed, m.name, m.visibility) for m in said] == [
            (2, ["name", "condition"], "No mail", "shared"), (3, ["visibility"], "No mail", "private"),
        ]  # fmt: skip
        assert said[1].condition == Blocks.model_validate(other)

    async def test_refuses_an_older_version(self, client: Client, as_admin: Headers) -> None:
        path = f"{PATH}/{(await saved(client, as_admin))['id']}"
        old = {**as_admin, "If-Match": '"1"'}
        assert (await client.patch(path, json={"name": "New"}, headers=old)).status_code == 200
        assert (await client.patch(path, json={"name": "Newer"}, headers=old)).status_code == 412
        assert (await client.delete(path, headers=old)).status_code == 412
        assert (await client.delete(path, headers={**as_admin, "If-Match": '"2"'})).status_code == 204

    @pytest.mark.parametrize("body", [{"name": None}, {"condition": None}, {"condition": whole(block("emial", "is_empty"))}, {"x": 1}])
    async def test_refuses_what_a_filter_cannot_be(self, body: Any, client: Client, as_admin: Headers) -> None:
        path = f"{PATH}/{(await saved(client, as_admin))['id']}"
        assert (await client.patch(path, json=body, headers=as_admin)).status_code == 422
        assert (await client.get(path, headers=as_admin)).json()["version"] == 1

    async def test_shared_ones_are_kept_by_admins(
        self, client: Client, as_user: Headers, as_admin: Headers, another_admin: Headers
    ) -> None:
        path = f"{PATH}/{(await saved(client, as_admin))['id']}"
        own = f"{PATH}/{(await saved(client, as_user, visibility='private'))['id']}"
        for answer in (
            await client.post(PATH, json=wish("Mine"), headers=as_user),
            await client.patch(own, json={"visibility": "shared"}, headers=as_user),
            await client.patch(path, json={"name": "x"}, headers=as_user),
            await client.delete(path, headers=as_user),
        ):
            assert refusal(answer) == (403, "shared_by_admins", ["/visibility"])
        assert (await client.patch(path, json={"name": "By another"}, headers=another_admin)).status_code == 200
        hidden = await client.patch(path, json={"visibility": "private"}, headers=another_admin)
        assert refusal(hidden) == (403, "filter_of_another", ["/visibility"])
        assert (await client.delete(path, headers=another_admin)).status_code == 204


class TestRemove:
    async def test_is_gone_and_says_so_once(self, client: Client, as_admin: Headers, practice: UUID, outbox: Outbox) -> None:
        gone = await saved(client, as_admin)
        answers = [(await client.delete(f"{PATH}/{gone['id']}", headers=as_admin)).status_code for _ in range(2)]
        said = [message for message in await outbox(practice) if isinstance(message, PatientFilterRemoved)]
        assert (answers, await names(client, as_admin)) == ([204, 404], [])
        assert said == [PatientFilterRemoved(filter_id=UUID(gone["id"]), version=1)]


class TestApply:
    async def test_finds_in_sql_whom_the_table_says(self, work: Work, practice: UUID) -> None:
        await people(work, practice)
        async with work(Principal.system("test", practice)) as tx:
            for written, expected in CASES:
                condition = Blocks.model_validate(written)
                assert faults(condition) == [], written
                found = await patients_by_name(tx, after=None, limit=100, only=found_by(condition))
                assert {patient.given_name for patient in found} == expected, written

    async def test_shows_the_patients_it_finds_page_by_page_with_a_trace(
        self, client: Client, work: Work, as_admin: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        await people(work, practice)
        mine = await saved(client, as_admin, visibility="private", condition=whole(block("email", "is_not_empty")))
        query = {"saved_filter": mine["id"], "limit": "3"}
        page = (await client.get("/v1/patients", params=query, headers=as_admin)).json()
        rest = (await client.get("/v1/patients", params={**query, "cursor": page["next_cursor"]}, headers=as_admin)).json()
        shown = [[patient["given_name"] for patient in one["items"]] for one in (page, rest)]
        assert (len(shown[0]), sorted(shown[0] + shown[1]), rest["next_cursor"]) == (3, ["Jürgen", "Mira", "Roſe", "Σοφία"], None)
        assert [len(m.patient_ids) for m in await outbox(practice) if isinstance(m, PatientsListed)] == [3, 1]

    async def test_finds_nobody_of_another_practice(self, client: Client, work: Work, as_admin: Headers, practice: UUID) -> None:
        await people(work, uuid4())
        everybody = await saved(client, as_admin, condition=whole(block("id", "is_not_empty")))
        page = (await client.get("/v1/patients", params={"saved_filter": everybody["id"]}, headers=as_admin)).json()
        assert page["items"] == []

    async def test_refuses_what_is_no_id(self, client: Client, as_admin: Headers) -> None:
        assert refusal(await client.get("/v1/patients", params={"saved_filter": "mine"}, headers=as_admin))[0] == 422
