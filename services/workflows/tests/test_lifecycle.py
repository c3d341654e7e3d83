"""The life of a workflow over HTTP: versions and their history, copies, the archive, and what a list says about runs."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest

from libs.common.work import Work
from libs.contracts.actions import Outcome
from libs.contracts.workflows import (
    WorkflowArchived,
    WorkflowDuplicated,
    WorkflowPublished,
    WorkflowRestored,
    WorkflowReverted,
    WorkflowUnpublished,
)
from libs.testing.fixtures import Outbox
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import HOURS, Visit, send, wait
from services.workflows.tests.test_api import Headers, body, booked, published, saved


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    return driver


async def edited(client: httpx.AsyncClient, headers: Headers, workflow_id: str, **fields: Any) -> dict[str, Any]:
    answer = await client.put(f"/v1/workflows/{workflow_id}", json=body() | fields, headers=headers)
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view


async def republished(client: httpx.AsyncClient, headers: Headers, workflow_id: str, note: str, **fields: Any) -> None:
    await edited(client, headers, workflow_id, **fields)
    answer = await client.post(f"/v1/workflows/{workflow_id}/publish", json={"note": note}, headers=headers)
    assert answer.status_code == 200, answer.text


class TestVersions:
    async def test_the_history_says_who_published_what_when_and_why_newest_first(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, as_user: Headers
    ) -> None:
        workflow_id = await published(client, as_admin)
        await republished(client, as_admin, workflow_id, "A friendlier text", **body(send(text="Hello."), name="Renamed"))
        listed = (await client.get(f"/v1/workflows/{workflow_id}/versions", headers=as_user)).json()["items"]
        assert [(one["version"], one["name"], one["note"], one["in_force"]) for one in listed] == [
            (2, "Renamed", "A friendlier text", True), (1, "Intake", None, False),
        ]  # fmt: skip
        assert all(one["published_by"] and one["published_at"] for one in listed)
        path = f"/v1/workflows/{workflow_id}/versions"
        page = (await client.get(path, params={"limit": 1}, headers=as_user)).json()
        rest = (await client.get(path, params={"limit": 1, "cursor": page["next_cursor"]}, headers=as_user)).json()
        assert [one["version"] for one in page["items"] + rest["items"]] == [2, 1]

    async def test_a_version_stays_as_it_was_published(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, as_user: Headers
    ) -> None:
        workflow_id = await published(client, as_admin, **body(send(text="Old.")))
        await edited(client, as_admin, workflow_id, **body(send(text="New.")))
        first = await client.get(f"/v1/workflows/{workflow_id}/versions/1", headers=as_user)
        assert first.json()["definition"]["steps"][0]["parameters"]["text"] == "Old."
        for missing in ("2", "0", "99999999999", "draft"):
            answer = await client.get(f"/v1/workflows/{workflow_id}/versions/{missing}", headers=as_user)
            assert answer.status_code in {404, 422}, missing

    async def test_a_diff_is_by_pointer_and_knows_steps_by_their_ids(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, as_user: Headers
    ) -> None:
        workflow_id = await published(client, as_admin, **body(send("a"), send("b", text="Old."), send("c")))
        await edited(client, as_admin, workflow_id, **body(wait(), send("b", text="New."), send("c"), send("a")))
        path = f"/v1/workflows/{workflow_id}/diff"
        changes = (await client.get(path, headers=as_user)).json()["changes"]
        assert [(one["change"], one["pointer"], one["step"]) for one in changes] == [
            ("added", "/steps/0", "pause"), ("changed", "/steps/1/parameters/text", "b"), ("moved", "/steps/3", "a"),
        ]  # fmt: skip
        assert (await client.get(path, params={"from": "1", "to": "1"}, headers=as_user)).json()["changes"] == []
        back = (await client.get(path, params={"from": "draft", "to": "1"}, headers=as_user)).json()["changes"]
        assert ("removed", "pause") in [(one["change"], one["step"]) for one in back]
        assert (await client.get(path, params={"from": "7"}, headers=as_user)).json()["code"] == "version_not_found"
        assert (await client.get(path, params={"from": "0"}, headers=as_user)).status_code == 422

    async def test_a_draft_reverts_to_a_version_and_what_is_in_force_stays(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        workflow_id = await published(client, as_admin, **body(send(text="Old.")))
        await republished(client, as_admin, workflow_id, "new", **body(send(text="New.")))
        path = f"/v1/workflows/{workflow_id}/revert"
        stale = await client.post(path, json={"version": 1}, headers=as_admin | {"If-Match": '"1"'})
        assert stale.status_code == 412
        reverted = await client.post(path, json={"version": 1}, headers=as_admin | {"If-Match": '"2"'})
        assert (reverted.json()["version"], reverted.json()["published_version"], reverted.headers["etag"]) == (3, 2, '"3"')
        assert reverted.json()["definition"]["steps"][0]["parameters"]["text"] == "Old."
        assert (await client.post(path, json={"version": 9}, headers=as_admin)).json()["code"] == "version_not_found"


class TestPublishingInARace:
    async def test_of_two_people_who_publish_different_drafts_one_is_told(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        workflow = await saved(client, as_admin)
        path = f"/v1/workflows/{workflow['id']}"
        await client.put(path, json=body(name="Faster"), headers=as_admin | {"If-Match": '"1"'})
        answers = await asyncio.gather(
            client.post(f"{path}/publish", headers=as_admin | {"If-Match": '"1"'}),
            client.post(f"{path}/publish", headers=as_admin | {"If-Match": '"2"'}),
        )
        assert [answer.status_code for answer in answers] == [409, 200]
        assert answers[0].json()["code"] == "draft_has_changed"
        assert [message.version for message in await outbox(practice) if isinstance(message, WorkflowPublished)] == [2]

    async def test_two_who_publish_the_same_draft_publish_it_once(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        workflow = await saved(client, as_admin)
        path = f"/v1/workflows/{workflow['id']}/publish"
        answers = await asyncio.gather(*(client.post(path, headers=as_admin | {"If-Match": '"1"'}) for _ in range(2)))
        assert [answer.status_code for answer in answers] == [200, 200]
        assert len([message for message in await outbox(practice) if isinstance(message, WorkflowPublished)]) == 1

    async def test_publishing_while_runs_are_active_leaves_them_their_version(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        workflow_id = await published(client, as_admin, **body(wait(), send(subject="Old")))
        await booked(engine)
        await republished(client, as_admin, workflow_id, "new", **body(send(subject="New")))
        await engine.pass_time(2 * HOURS)
        assert [request.parameters["subject"] for request in await engine.requests()] == ["Old"]


class TestCopies:
    async def test_a_copy_is_a_draft_of_its_own(self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers) -> None:
        workflow_id = await published(client, as_admin)
        copy = await client.post(f"/v1/workflows/{workflow_id}/duplicate", headers=as_admin)
        assert (copy.status_code, copy.json()["name"], copy.json()["status"]) == (201, "Intake (copy)", "draft")
        assert copy.json()["definition"] == (await client.get(f"/v1/workflows/{workflow_id}", headers=as_admin)).json()["definition"]
        named = await client.post(f"/v1/workflows/{workflow_id}/duplicate", json={"name": "Other"}, headers=as_admin)
        assert named.json()["name"] == "Other"
        assert len({workflow_id, copy.json()["id"], named.json()["id"]}) == 3

    async def test_a_copy_asked_for_twice_under_one_key_is_made_once(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        workflow = await saved(client, as_admin, name="x" * 200)
        keyed = as_admin | {"Idempotency-Key": "copy-1"}
        first, again = [(await client.post(f"/v1/workflows/{workflow['id']}/duplicate", headers=keyed)).json() for _ in range(2)]
        assert first["id"] == again["id"]
        assert len(first["name"]) == 200


class TestWhatIsSaid:
    async def test_copies_reverts_and_the_archive_are_said_by_whoever_did_it(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        workflow_id = await published(client, as_admin)
        path = f"/v1/workflows/{workflow_id}"
        copy = (await client.post(f"{path}/duplicate", headers=as_admin)).json()
        await client.post(f"{path}/revert", json={"version": 1}, headers=as_admin)
        for verb in ("archive", "archive", "restore", "restore"):  # refused the second time, and not said again
            await client.post(f"{path}/{verb}", headers=as_admin)
        own = UUID(workflow_id)
        assert (await outbox(practice))[1:] == [
            WorkflowDuplicated(workflow_id=UUID(copy["id"]), source_id=own, name="Intake (copy)"),
            WorkflowReverted(workflow_id=own, version=1, draft=2),
            WorkflowUnpublished(workflow_id=own, version=1),
            WorkflowArchived(workflow_id=own, name="Intake"),
            WorkflowRestored(workflow_id=own, name="Intake"),
        ]


class TestTheArchive:
    async def test_an_archived_workflow_starts_nothing_and_cannot_be_published_or_edited(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, practice: UUID, outbox: Outbox
    ) -> None:
        workflow_id = await published(client, as_admin)
        path = f"/v1/workflows/{workflow_id}"
        archived = await client.post(f"{path}/archive", headers=as_admin)
        assert (archived.json()["status"], archived.json()["published_version"]) == ("archived", None)
        await booked(engine)
        assert await engine.runs() == []
        for answer in (
            await client.post(f"{path}/publish", headers=as_admin), await client.put(path, json=body(), headers=as_admin),
            await client.post(f"{path}/archive", headers=as_admin), await client.post(f"{path}/revert", json={"version": 1}, headers=as_admin),
        ):  # fmt: skip
            assert (answer.status_code, answer.json()["code"]) == (409, "workflow_is_archived")
        said = [type(message) for message in await outbox(practice) if isinstance(message, WorkflowPublished | WorkflowUnpublished)]
        assert said == [WorkflowPublished, WorkflowUnpublished]

    async def test_archiving_while_runs_are_active_lets_them_go_on(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        workflow_id = await published(client, as_admin, **body(wait(), send()))
        await booked(engine)
        await client.post(f"/v1/workflows/{workflow_id}/archive", headers=as_admin)
        await engine.pass_time(2 * HOURS)
        assert len(await engine.requests()) == 1

    async def test_a_restored_workflow_is_a_draft_that_can_be_published_again(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        workflow_id = await published(client, as_admin)
        path = f"/v1/workflows/{workflow_id}"
        early = await client.post(f"{path}/restore", headers=as_admin)
        assert (early.status_code, early.json()["code"]) == (409, "workflow_not_archived")
        await client.post(f"{path}/archive", headers=as_admin)
        restored = await client.post(f"{path}/restore", headers=as_admin)
        assert (restored.json()["status"], restored.json()["archived_at"]) == ("draft", None)
        await booked(engine)
        assert await engine.runs() == []
        assert (await client.post(f"{path}/publish", headers=as_admin)).json()["published_version"] == 1
        await booked(engine)
        assert len(await engine.runs()) == 1

    async def test_archiving_what_somebody_changed_meanwhile_is_refused(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        workflow = await saved(client, as_admin)
        await edited(client, as_admin, workflow["id"])
        answer = await client.post(f"/v1/workflows/{workflow['id']}/archive", headers=as_admin | {"If-Match": '"1"'})
        assert answer.status_code == 412


class TestTheList:
    async def listed(self, client: httpx.AsyncClient, headers: Headers, **query: Any) -> list[dict[str, Any]]:
        answer = await client.get("/v1/workflows", params=query, headers=headers)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def test_counts_runs_as_they_start_end_fail_and_are_tried_again(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, as_user: Headers
    ) -> None:
        await published(client, as_admin)
        for _ in range(4):
            await booked(engine)
        done, failed, _, unwanted = await engine.requests()
        await engine.answer(done, Outcome.SUCCEEDED, times=2)
        await engine.answer(failed, Outcome.FAILED, "mailbox_full")
        await engine.cancel(unwanted.run_id)
        (one,) = await self.listed(client, as_user)
        assert one["stats"].pop("last_run_at") is not None
        assert one["stats"] == {"runs": 4, "succeeded": 1, "failed": 1, "cancelled": 1, "active": 1, "success_rate": 0.5}
        assert (one["status"], one["last_published_by"] is not None, one["created_by"] != "") == ("published", True, True)

    async def test_a_run_that_ends_at_once_and_one_that_cannot_begin_are_counted(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        await published(client, as_admin, **body({"kind": "stop", "id": "end"}, name="A"))
        await published(client, as_admin, **body(condition="patient.email.endsWith('.example')", name="B"))
        await engine.deliver(*_without_email())
        first, second = [one["stats"] for one in await self.listed(client, as_admin)]
        assert (first["runs"], first["succeeded"], first["active"]) == (1, 1, 0)
        assert (second["runs"], second["failed"], second["active"], second["success_rate"]) == (1, 1, 0, 0.0)

    async def test_is_filtered_by_status_trigger_action_and_name(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers
    ) -> None:
        await published(client, as_admin, name="Welcome")
        await saved(client, as_admin, **body(wait(), name="50% Reminder_"))
        manual = body({"kind": "branch", "id": "b", "cases": [{"when": "true", "steps": [{**send(), "action": "update_patient"}]}]})
        manual["definition"]["trigger"] = {"kind": "manual"}
        await saved(client, as_admin, **manual | {"name": "Old one"})
        old = next(one for one in await self.listed(client, as_admin) if one["name"] == "Old one")
        await client.post(f"/v1/workflows/{old['id']}/archive", headers=as_admin)

        async def names(**query: Any) -> list[str]:
            return [one["name"] for one in await self.listed(client, as_admin, **query)]

        assert await names() == ["50% Reminder_", "Old one", "Welcome"]
        assert await names(status="published") == ["Welcome"]
        assert await names(status="draft") == ["50% Reminder_"]
        assert await names(status="archived") == ["Old one"]
        assert await names(trigger="manual") == ["Old one"]
        assert await names(trigger="event") == ["50% Reminder_", "Welcome"]
        assert await names(action="send_email") == ["Welcome"]
        assert await names(action="update_patient") == ["Old one"]
        assert await names(search="REMINDER_") == ["50% Reminder_"]
        assert await names(search="%") == ["50% Reminder_"]
        assert await names(search="e.*") == []

    @pytest.mark.parametrize("sort", ["name", "created", "updated", "last_run", "runs", "failed"])
    async def test_is_sorted_and_paged_without_losing_or_repeating_one(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, sort: str
    ) -> None:
        for name in ("B", "A", "A"):
            await published(client, as_admin, name=name)
        await saved(client, as_admin, name="C")
        await booked(engine)
        whole = [one["id"] for one in await self.listed(client, as_admin, sort=sort)]
        paged: list[str] = []
        query: dict[str, Any] = {"sort": sort, "limit": 1}
        while True:
            page = (await client.get("/v1/workflows", params=query, headers=as_admin)).json()
            paged += [one["id"] for one in page["items"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert paged == whole
        assert len(set(whole)) == 4

    async def test_what_no_list_knows_is_refused(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        await saved(client, as_admin, name="A")
        await saved(client, as_admin, name="B")
        cursor = (await client.get("/v1/workflows", params={"limit": 1}, headers=as_admin)).json()["next_cursor"]
        for query in (
            {"sort": "draft"}, {"sort": "name;drop"}, {"status": "gone"}, {"trigger": "cron"}, {"search": "x" * 101}, {"action": ""},
            {"sort": "runs", "cursor": cursor},
        ):  # fmt: skip
            assert (await client.get("/v1/workflows", params=query, headers=as_admin)).status_code == 422, query


def _without_email() -> tuple[Any, ...]:
    visit = Visit(email=None)
    return visit.registered(), visit.booked()


class TestWhoMay:
    async def test_users_look_at_history_and_change_nothing(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, as_user: Headers, as_stranger: Headers
    ) -> None:
        path = f"/v1/workflows/{await published(client, as_admin)}"
        for verb in ("duplicate", "archive", "restore", "revert"):
            assert (await client.post(f"{path}/{verb}", json={}, headers=as_user)).status_code == 403, verb
            sent = {"version": 1} if verb == "revert" else None
            assert (await client.post(f"{path}/{verb}", json=sent, headers=as_stranger)).status_code == 404, verb
        for what in ("versions", "versions/1", "diff"):
            assert (await client.get(f"{path}/{what}", headers=as_user)).status_code == 200, what
            assert (await client.get(f"{path}/{what}", headers=as_stranger)).status_code == 404, what
