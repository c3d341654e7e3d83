"""What a person says of an unknown step, over HTTP: who may, what is shown of it, and who is told."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.work import Work
from libs.contracts.actions import ActionRequest, Outcome
from libs.contracts.notifications import LeaveEffect
from libs.contracts.workflows import StepResolved
from services.workflows.commands import watchdog
from services.workflows.commands.watchdog import look_after
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import booked, definition, send
from services.workflows.tests.steering import Client, Headers, post


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    return driver


@pytest.fixture
async def unknown(engine: BuiltinDriver) -> ActionRequest:
    await engine.publish(definition(send("first"), send("second")))
    await booked(engine)
    (request,) = await engine.requests()
    await engine.answer(request, Outcome.UNKNOWN)
    return request


def door(request: ActionRequest, step: str = "first") -> str:
    return f"/v1/runs/{request.run_id}/steps/{step}/resolve"


class TestSaying:
    async def test_is_shown_with_who_said_it_and_what_the_owner_said_later(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers, as_user: Headers, unknown: ActionRequest
    ) -> None:
        await post(client, door(unknown), as_admin, {"outcome": "failed", "note": "Not in their console."}, 204)
        await engine.answer(unknown, Outcome.SUCCEEDED)
        shown = (await client.get(f"/v1/runs/{unknown.run_id}", headers=as_user)).json()
        assert (shown["status"], shown["error_code"], shown["steps"][0]["status"]) == ("failed", "said_to_have_failed", "failed")
        (said,) = shown["resolutions"]
        assert (said["step_id"], said["outcome"], said["note"]) == ("first", "failed", "Not in their console.")
        assert said["resolved_by"].startswith("user:")
        assert (said["effect_key"], said["answer"], said["answer_code"]) == (str(unknown.effect_key), "succeeded", None)
        assert said["answered_at"] is not None

    async def test_is_said_on_the_backbone_in_the_persons_name_and_the_owner_leaves_the_effect_alone(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers, unknown: ActionRequest
    ) -> None:
        await post(client, door(unknown), as_admin, {"outcome": "succeeded"}, 204)
        ((resolved,), (left,)) = [await engine.said(kind) for kind in (StepResolved, LeaveEffect)]
        assert isinstance(resolved, StepResolved)
        assert isinstance(left, LeaveEffect)
        assert (resolved.action, resolved.effect_key) == ("send_email", unknown.effect_key)
        assert (left.effect_key, left.run_id, left.step_id) == (unknown.effect_key, unknown.run_id, "first")
        async with engine.work(engine.admin) as tx:
            actors = await tx.rows("SELECT actor FROM outbox WHERE practice_id = $1 AND type = $2", engine.practice, StepResolved.type)
        assert [row["actor"].partition(":")[0] for row in actors] == ["user"]

    async def test_ends_what_somebody_had_to_look_at(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers, unknown: ActionRequest
    ) -> None:
        engine.now += 2 * watchdog.UNKNOWN
        assert (await look_after([engine.practice], engine.work, engine.published)).raised == 1
        await post(client, door(unknown), as_admin, {"outcome": "succeeded"}, 204)
        await look_after([engine.practice], engine.work, engine.published)
        listed = await client.get("/v1/runs", params={"stuck": True}, headers=as_admin)
        assert listed.json()["items"] == []


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({"outcome": "unknown"}, 422, "invalid_input"),
            ({}, 422, "invalid_input"),
            ({"outcome": "failed", "note": "x" * 2001}, 422, "invalid_input"),
            ({"outcome": "failed", "note": "a\x00b"}, 422, "text_invalid"),
            ({"outcome": "failed", "result": {}}, 422, "invalid_input"),
        ],
    )
    async def test_what_cannot_be_said_is_named(
        self, client: Client, as_admin: Headers, unknown: ActionRequest, body: dict[str, Any], status: int, code: str
    ) -> None:
        assert (await post(client, door(unknown), as_admin, body, status))["code"] == code

    @pytest.mark.parametrize("step", ["nowhere", "NO", "a%00b", "second"])
    async def test_a_step_the_run_has_not_come_to(self, client: Client, as_admin: Headers, unknown: ActionRequest, step: str) -> None:
        refused = await client.post(door(unknown, step), json={"outcome": "failed"}, headers=as_admin)
        assert (refused.status_code, refused.json()["code"]) in {(404, "step_not_found"), (422, "invalid_input")}

    async def test_others_may_not_and_strangers_find_nothing(
        self, client: Client, as_user: Headers, as_stranger: Headers, as_admin: Headers, unknown: ActionRequest
    ) -> None:
        said = {"outcome": "succeeded"}
        assert (await post(client, door(unknown), as_user, said, 403))["code"] == "permission_missing"
        assert (await client.post(door(unknown), json=said, headers=as_stranger)).status_code in {403, 404}
        nobodys = await post(client, f"/v1/runs/{uuid4()}/steps/first/resolve", as_admin, said, 404)
        assert nobodys["code"] == "run_not_found"

    async def test_a_step_that_is_known_is_a_conflict(
        self, client: Client, engine: BuiltinDriver, as_admin: Headers, unknown: ActionRequest
    ) -> None:
        await engine.answer(unknown, Outcome.SUCCEEDED)
        assert (await post(client, door(unknown), as_admin, {"outcome": "failed"}, 409))["code"] == "step_is_not_unknown"
