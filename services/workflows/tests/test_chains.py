"""Workflows that cause each other: started and stopped by actions, and loops that end where they can be seen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.work import Work
from libs.contracts.actions import ActionRequest, Outcome
from libs.contracts.patients import PatientDetails, PatientRegistered, PatientUpdated
from libs.contracts.workflows import ActionFinished, PerformAction, RunRequested
from libs.testing.fixtures import incoming
from services.workflows.actions import START_WORKFLOW, STOP_WORKFLOW
from services.workflows.commands import enrolling
from services.workflows.commands.enrolling import OFTEN
from services.workflows.commands.starting import LOOP_STOPPED, MAX_CHAIN
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.driver import Said
from services.workflows.tests.engine.world import CANCELLED, HOURS, Visit, booked, definition, reminder, send, wait

UPDATED = PatientUpdated.type


@pytest.fixture
async def engine(work: Work) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine)
    await driver.learn_catalogue()
    for action in (START_WORKFLOW, STOP_WORKFLOW):
        await driver.batches.handle([incoming(action.description(), UUID(int=0))])
    return driver


def act(name: str, step: str = "act", **parameters: Any) -> dict[str, Any]:
    return {"kind": "action", "id": step, "action": name, "parameters": parameters}


def by_hand(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"trigger": {"kind": "manual"}, "steps": list(steps)}


async def pass_on(engine: BuiltinDriver, rounds: int) -> int:
    """Carry what workflows asks of itself and answers to itself, as the backbone would; returns in how many rounds there was anything."""
    busy = 0
    for _ in range(rounds):
        async with engine.work(engine.admin) as tx:
            rows = await tx.rows(
                "SELECT * FROM outbox WHERE practice_id = $1 AND type = ANY($2::text[]) AND id NOT IN (SELECT event_id FROM inbox) ORDER BY seq",
                engine.practice, [PerformAction.type, ActionFinished.type],
            )  # fmt: skip
        kinds = {kind.type: kind for kind in (PerformAction, ActionFinished)}
        records = [
            incoming(
                kinds[row["type"]].model_validate(row["payload"]), engine.practice, ce_id=str(row["id"]), ce_time=engine.now.isoformat(),
                correlation_id=row["correlation_id"], causation_id=row["causation_id"],
            )
            for row in rows
        ]  # fmt: skip
        if not records:
            break
        busy += 1
        await engine.batches.handle(records)
    return busy


async def updated_because_of(engine: BuiltinDriver, request: ActionRequest, version: int) -> None:
    """The patients service did what it was asked, and says so."""
    async with engine.work(engine.admin) as tx:
        cause = await tx.value(
            "SELECT id FROM outbox WHERE practice_id = $1 AND payload ->> 'effect_key' = $2 AND type LIKE '%perform-action%'",
            engine.practice, str(request.effect_key),
        )  # fmt: skip
    assert request.patient_id is not None
    news = PatientUpdated(
        patient_id=request.patient_id, version=version, changed=["phone"], details=PatientDetails(given_name="Kim", family_name="Lorenz")
    )
    await engine.answer(request, Outcome.SUCCEEDED)
    await engine.batches.handle([incoming(news, engine.practice, causation_id=str(cause), ce_time=engine.now.isoformat())])


async def errors(engine: BuiltinDriver) -> list[str | None]:
    return [run.error_code for run in await engine.runs()]


class TestLoops:
    async def test_a_workflow_that_triggers_itself_ends_as_loop_stopped(self, engine: BuiltinDriver) -> None:
        """update_patient -> PatientUpdated -> the same workflow, round and round."""
        await engine.publish(definition(act("update_patient", phone="+49301"), event=UPDATED))
        visit = Visit()
        await engine.deliver(visit.registered())
        assert visit.patient_id is not None
        first = PatientUpdated(
            patient_id=visit.patient_id, version=2, changed=["phone"], details=PatientDetails(given_name="Kim", family_name="Lorenz")
        )
        await engine.deliver(Said(uuid4(), first))
        for version in range(3, MAX_CHAIN + 10):
            requests = await engine.requests()
            if len(requests) < version - 2:
                break
            await updated_because_of(engine, requests[-1], version)
        found = await errors(engine)
        assert len(found) == MAX_CHAIN + 2
        assert (found.count(LOOP_STOPPED), found.count(None)) == (1, MAX_CHAIN + 1)

    async def test_two_workflows_that_start_each_other_end_as_loop_stopped(self, engine: BuiltinDriver) -> None:
        one = await engine.publish(by_hand(send()))
        two = await engine.publish(by_hand(act("start_workflow", workflow_id=str(one))))
        await engine.publish(by_hand(act("start_workflow", workflow_id=str(two))), one)
        await engine.publish(definition(act("start_workflow", workflow_id=str(one))))
        visit = Visit()
        await engine.deliver(visit.registered(), visit.booked())
        await pass_on(engine, 60)
        found = await errors(engine)
        assert len(found) == MAX_CHAIN + 2
        assert (found.count(LOOP_STOPPED), found.count(None)) == (1, MAX_CHAIN + 1)
        assert sorted(run.status for run in await engine.runs()) == ["completed"] * (MAX_CHAIN + 1) + ["failed"]

    async def test_a_loop_that_goes_round_outside_is_stopped_by_how_often_it_comes(self, engine: BuiltinDriver) -> None:
        """No causation leads through somebody else's system: the same patient comes again and again."""
        await engine.publish(definition(wait("P1D"), event=UPDATED))
        visit = Visit()
        await engine.deliver(visit.registered())
        assert visit.patient_id is not None
        for version in range(2, OFTEN + 12):
            news = PatientUpdated(
                patient_id=visit.patient_id, version=version, changed=["phone"], details=PatientDetails(given_name="Kim", family_name="L")
            )
            await engine.deliver(Said(uuid4(), news))
            engine.now += timedelta(seconds=10)
        found = await errors(engine)
        assert (found.count(None), found.count(LOOP_STOPPED), len(found)) == (OFTEN, 1, OFTEN + 1)
        engine.now += 2 * HOURS
        await engine.deliver(Said(uuid4(), news.model_copy(update={"version": 99})))
        assert (await errors(engine)).count(None) == OFTEN + 1

    async def test_in_one_batch_too(self, engine: BuiltinDriver) -> None:
        await engine.publish(definition(wait("P1D"), event=UPDATED))
        visit = Visit()
        await engine.deliver(visit.registered())
        assert visit.patient_id is not None
        details = PatientDetails(given_name="Kim", family_name="Lorenz")
        news = [PatientUpdated(patient_id=visit.patient_id, version=n, changed=["phone"], details=details) for n in range(2, OFTEN + 12)]
        await engine.deliver(*(Said(uuid4(), one) for one in news))
        found = await errors(engine)
        assert (found.count(None), found.count(LOOP_STOPPED)) == (OFTEN, 1)

    async def test_runs_about_nobody_are_counted_by_their_workflow(self, engine: BuiltinDriver, monkeypatch: pytest.MonkeyPatch) -> None:
        """A loop through bookings nobody is matched to: each is another appointment, and none has a patient."""
        monkeypatch.setattr(enrolling, "OFTEN_NOBODY", 12)
        await engine.publish(definition(wait("P1D")))
        for _ in range(5):
            await engine.deliver(*(Visit(None).booked() for _ in range(4)))
        found = await errors(engine)
        assert (found.count(None), found.count(LOOP_STOPPED), len(found)) == (12, 1, 13)
        another = await engine.publish(definition(wait("P1D"), event=CANCELLED))
        await engine.deliver(Visit(None).cancelled())
        await booked(engine)
        assert (await errors(engine)).count(None) == 14
        assert another in {run.workflow_id for run in await engine.runs()}
        engine.now += 2 * HOURS
        await engine.deliver(Visit(None).booked())
        assert (await errors(engine)).count(None) == 15

    async def test_appointments_taken_up_at_a_publication_are_no_loop(self, engine: BuiltinDriver, monkeypatch: pytest.MonkeyPatch) -> None:
        """A year of weekly appointments, and some that nobody is matched to."""
        monkeypatch.setattr(enrolling, "OFTEN_NOBODY", 3)
        visit = Visit(starts_at=engine.now + timedelta(days=7))
        weekly = [visit.again(visit.starts_at + timedelta(weeks=week)) for week in range(OFTEN + 10)]
        await engine.deliver(visit.registered(), *(one.booked() for one in weekly))
        await engine.deliver(*(Visit(None, starts_at=visit.starts_at).booked() for _ in range(5)))
        await engine.publish(reminder("trigger"))
        assert (await errors(engine)) == [None] * (OFTEN + 15)


class TestBulk:
    @pytest.mark.parametrize(("asked", "count"), [(False, 0), (True, 3)])
    async def test_an_import_starts_nothing_unless_the_trigger_asks(self, engine: BuiltinDriver, asked: bool, count: int) -> None:
        registered = PatientRegistered.type
        await engine.publish({**definition(), "trigger": {"event": registered, "bulk": asked}})
        details = PatientDetails(given_name="Kim", family_name="Lorenz", email="kim.lorenz@patients.example")
        imported = [PatientRegistered(patient_id=uuid4(), version=1, details=details, bulk=True) for _ in range(3)]
        await engine.deliver(*(Said(uuid4(), one) for one in imported))
        assert len(await engine.runs()) == count
        await engine.deliver(Visit().registered())
        assert len(await engine.runs()) == count + 1


class TestActions:
    async def test_one_workflow_starts_another_for_the_same_patient_and_appointment_and_passes_values_on(
        self, engine: BuiltinDriver
    ) -> None:
        recall = await engine.publish(by_hand(send(text="{{ event.values.reason }} for {{ patient.given_name }}, {{ appointment.title }}")))
        starting = act("start_workflow", workflow_id=str(recall), values={"reason": "{{ event.title }}"})
        await engine.publish(definition(starting, send("after", text="{{ steps.act.result.decision }}")))
        visit = Visit()
        await engine.deliver(visit.registered(), visit.booked())
        await pass_on(engine, 5)
        await pass_on(engine, 5)
        texts = {request.parameters["text"]: request.patient_id for request in await engine.requests() if request.action == "send_email"}
        assert texts == {"First visit for Kim, First visit": visit.patient_id, "started": visit.patient_id}
        (asked,) = await engine.said(RunRequested)
        assert isinstance(asked, RunRequested)
        assert asked.requested_by.startswith("run:")

    async def test_what_cannot_be_started_fails_the_step_and_says_why(self, engine: BuiltinDriver) -> None:
        gone = await engine.publish(by_hand(wait("P1D")))
        await engine.publish(definition(act("start_workflow", workflow_id=str(gone))))
        await engine.unpublish(gone)
        visit = Visit()
        await engine.deliver(visit.registered(), visit.booked())
        await pass_on(engine, 5)
        assert await errors(engine) == ["not_published"]

    async def test_one_workflow_stops_the_runs_of_another_for_its_patient_only(self, engine: BuiltinDriver) -> None:
        nurture = await engine.publish(definition(wait("P9D"), send(), event=PatientRegistered.type))
        await engine.publish(definition(act("stop_workflow", workflow_id=str(nurture))))
        mine, other = Visit(), Visit()
        await engine.deliver(mine.registered(), other.registered())
        await engine.deliver(mine.booked())
        await pass_on(engine, 5)
        statuses = sorted(run.status for run in await engine.runs())
        assert statuses == ["cancelled", "completed", "running"]

    async def test_asked_twice_it_is_done_once(self, engine: BuiltinDriver) -> None:
        recall = await engine.publish(by_hand(wait("P1D")))
        await engine.publish(definition(act("start_workflow", workflow_id=str(recall))))
        visit = Visit()
        await engine.deliver(visit.registered(), visit.booked())
        (request,) = await engine.requests()
        for _ in range(3):
            await engine.batches.handle([incoming(request, engine.practice, ce_time=engine.now.isoformat())])
        assert len(await engine.said(RunRequested)) == 1
