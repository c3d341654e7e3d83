"""A version that was valid when it was published and compiles no more stops its own runs, and nothing of them is lost."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from libs.common.work import Work
from libs.contracts.actions import Outcome
from libs.contracts.workflows import RunStuck
from services.workflows.commands import watchdog
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import CONFIRMED, HOURS, UPDATED, Visit, definition, heard, reminder, send, wait, wait_for
from services.workflows.tests.steering import Client, Headers, booked, breaks, post

OUTCOME = "{{ steps.reply.outcome }}"


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    return driver


async def look(engine: BuiltinDriver) -> tuple[int, int]:
    engine.now += timedelta(minutes=5)
    found = await watchdog.look_after([engine.practice], engine.work, engine.published)
    return found.repaired, found.raised


async def raised(engine: BuiltinDriver) -> list[tuple[UUID, str]]:
    return [(stuck.workflow_id, stuck.code) for stuck in await engine.said(RunStuck) if isinstance(stuck, RunStuck)]


async def asked(engine: BuiltinDriver) -> list[str]:
    return [request.step_id for request in await engine.requests()]


class TestOthers:
    async def test_go_on_while_its_run_is_shown_and_takes_up_what_came_when_it_compiles_again(
        self, engine: BuiltinDriver, client: Client, as_user: Headers, broken: set[UUID]
    ) -> None:
        bad = await engine.publish(definition(wait_for(heard(CONFIRMED)), send("bad", text=OUTCOME)))
        await engine.publish(definition(wait_for(heard(CONFIRMED)), send("waited")))
        await engine.publish(definition(send("began"), event=CONFIRMED))
        (visit,) = await booked(engine)
        await breaks(engine, broken, bad)
        await engine.deliver(visit.confirmed())
        assert (await engine.parked(), sorted(await asked(engine))) == ([], ["began", "waited"])
        assert [await look(engine) for _ in range(2)] == [(0, 0), (0, 0)]
        assert await raised(engine) == [(bad, "keeps_failing")]
        listed = (await client.get("/v1/runs/stuck", headers=as_user)).json()["items"]
        assert [(cause["workflow_id"], cause["code"]) for cause in listed] == [(str(bad), "keeps_failing")]
        await breaks(engine, broken)
        assert [await look(engine) for _ in range(2)] == [(1, 0), (0, 0)]
        assert [request.parameters["text"] for request in await engine.requests() if request.step_id == "bad"] == ["event"]
        assert (await client.get("/v1/runs/stuck", headers=as_user)).json()["items"] == []

    async def test_of_its_patient_are_answered_and_follow_their_appointment(self, engine: BuiltinDriver, broken: set[UUID]) -> None:
        bad = await engine.publish(definition(send("bad"), send("bad_then")))
        also_bad = await engine.publish(reminder("trigger"))
        await engine.publish(definition(send("good"), send("good_then")))
        visit = Visit(starts_at=engine.now + timedelta(days=9))
        await engine.deliver(visit.registered(), visit.booked())
        await breaks(engine, broken, bad, also_bad)
        for request in await engine.requests():
            await engine.answer(request, Outcome.SUCCEEDED)
        await engine.deliver(visit.moved(engine.now + timedelta(days=3)))
        assert (await engine.parked(), sorted(await asked(engine))) == ([], ["bad", "good", "good_then"])
        assert set(await raised(engine)) == {(bad, "keeps_failing"), (also_bad, "keeps_failing")}
        await breaks(engine, broken)
        assert await look(engine) == (2, 0)
        assert "bad_then" in await asked(engine)
        await engine.pass_time(timedelta(days=2))
        assert "remind" in await asked(engine)


class TestWhatComesMeanwhile:
    async def test_is_found_also_by_the_wait_behind_the_one_it_stood_at(self, engine: BuiltinDriver, broken: set[UUID]) -> None:
        bad = await engine.publish(definition(wait_for(heard(UPDATED)), wait_for(heard(CONFIRMED), step="then"), send("bad")))
        (visit,) = await booked(engine)
        await breaks(engine, broken, bad)
        await engine.deliver(visit.updated("phone"))
        engine.now += HOURS
        await engine.deliver(visit.confirmed())
        await breaks(engine, broken)
        assert (await look(engine), await asked(engine)) == ((1, 0), ["bad"])

    async def test_counts_before_a_time_out_that_passed_after_it(self, engine: BuiltinDriver, broken: set[UUID]) -> None:
        bad = await engine.publish(definition(wait_for(heard(CONFIRMED), timeout="PT1H"), send("bad", text=OUTCOME)))
        (visit,) = await booked(engine)
        await breaks(engine, broken, bad)
        await engine.deliver(visit.confirmed())
        await engine.pass_time(2 * HOURS)
        assert await asked(engine) == []
        await breaks(engine, broken)
        await engine.pass_time(timedelta(minutes=2))
        assert [request.parameters["text"] for request in await engine.requests()] == ["event"]

    async def test_of_an_appointment_whose_patient_is_found_is_heard_of_that_patient(
        self, engine: BuiltinDriver, broken: set[UUID]
    ) -> None:
        bad = await engine.publish(definition(wait("PT9H"), send()) | {"exit": [heard(UPDATED)]})
        visit = Visit()
        await engine.deliver(visit.unmatched())
        await breaks(engine, broken, bad)
        await engine.deliver(visit.registered(), visit.matched())
        assert (await engine.parked(), await raised(engine)) == ([], [(bad, "keeps_failing")])
        await breaks(engine, broken)
        assert await look(engine) == (1, 0)
        await engine.deliver(visit.updated("phone"))
        assert [run.error_code for run in await engine.runs()] == ["exit_condition"]


class TestPeople:
    async def test_can_end_such_a_run_and_are_told_that_it_cannot_go_on(
        self, engine: BuiltinDriver, client: Client, as_admin: Headers, broken: set[UUID]
    ) -> None:
        bad = await engine.publish(definition(wait_for(heard(CONFIRMED)), send("bad")) | {"exit": [heard(UPDATED)]})
        (visit,) = await booked(engine)
        (run,) = await engine.runs()
        await breaks(engine, broken, bad)
        await engine.deliver(visit.confirmed())
        refused = await post(client, f"/v1/runs/{run.id}/pause", as_admin, status=422)
        assert refused["code"] == "version_broken"
        await post(client, f"/v1/runs/{run.id}/cancel", as_admin, status=204)
        (run,) = await engine.runs()
        assert (run.status, run.steps) == ("cancelled", (("reply", "cancelled"),))
        await look(engine)
        assert (await client.get("/v1/runs/stuck", headers=as_admin)).json()["items"] == []
        await engine.deliver(visit.updated("phone"))
        assert (len(await raised(engine)), await engine.parked()) == (1, [])

    async def test_put_its_patient_on_the_suppression_list_and_it_ends(self, engine: BuiltinDriver, broken: set[UUID]) -> None:
        bad = await engine.publish(definition(wait(), send("bad")))
        (visit,) = await booked(engine)
        await breaks(engine, broken, bad)
        assert visit.patient_id is not None
        await engine.suppress(visit.patient_id)
        assert [(run.status, run.error_code) for run in await engine.runs()] == [("cancelled", "suppressed")]
