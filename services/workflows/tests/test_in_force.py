"""What an event met is told in full, however little of it the event keeps; and each process sees at once what comes into force."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import Mock
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from libs.common.migrations import migrate
from libs.common.work import Work
from libs.contracts.patients import PatientDetails, PatientRegistered
from libs.testing.postgres import TestDatabase
from services.workflows.commands import published
from services.workflows.commands.pausing import pause_workflow
from services.workflows.queries.decided import with_decisions
from services.workflows.rules.definitions.definition import AnchoredTrigger
from services.workflows.rules.definitions.triggers import started_types
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.driver import Said
from services.workflows.tests.engine.world import BOOKED, CANCELLED, Visit, definition, practice_created, send, wait

ANCHORED = {"kind": "anchored", "anchor": {"of": "appointment.starts_at", "offset": "-P1D"}, "past_due": {"policy": "skip"}}
OTHER = "event.title == 'Something else'"


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    await driver.deliver(practice_created(practice))
    return driver


async def booked(engine: BuiltinDriver) -> UUID:
    """A booking; returns its event."""
    visit = Visit()
    said = visit.booked()
    await engine.deliver(visit.registered(), said)
    engine.now += timedelta(seconds=1)
    return said.id


async def kept(engine: BuiltinDriver, event_id: UUID) -> tuple[list[Any], dict[UUID, tuple[int, str]]]:
    """What the event keeps, and what it tells of each workflow."""
    async with engine.work(engine.admin) as tx:
        rows = await tx.rows("SELECT * FROM event_log WHERE event_id = $1", event_id)
        (told,) = await with_decisions(rows, tx)
    return rows[0]["decisions"], {UUID(workflow): (version, verdict) for workflow, version, verdict, _ in told["decisions"]}


class TestKeeping:
    async def test_it_keeps_what_went_on_and_tells_what_its_filter_kept_out(self, engine: BuiltinDriver) -> None:
        through = await engine.publish(definition(wait()))
        out = [await engine.publish(definition(condition=OTHER)) for _ in range(3)]
        await engine.publish(definition(event=CANCELLED, condition=OTHER))
        names, told = await kept(engine, await booked(engine))
        assert [UUID(workflow) for workflow, *_ in names] == [through]
        assert told == {through: (1, "started")} | dict.fromkeys(out, (1, "filtered"))

    async def test_each_event_tells_of_the_version_that_was_in_force(self, engine: BuiltinDriver) -> None:
        workflow = await engine.publish(definition(condition=OTHER))
        first = await booked(engine)
        await engine.edit(workflow, definition(send("later"), condition=OTHER))
        await engine.publish(definition(send("later"), condition=OTHER), workflow)
        second = await booked(engine)
        await engine.unpublish(workflow)
        third = await booked(engine)
        told = [(await kept(engine, event_id))[1] for event_id in (first, second, third)]
        assert told == [{workflow: (1, "filtered")}, {workflow: (3, "filtered")}, {}]

    async def test_several_events_asked_about_together_each_tell_of_their_own_time(self, engine: BuiltinDriver) -> None:
        first = await booked(engine)
        workflow = await engine.publish(definition(condition=OTHER))
        second = await booked(engine)
        async with engine.work(engine.admin) as tx:
            rows = await tx.rows("SELECT * FROM event_log WHERE event_id = ANY($1::uuid[])", [first, second])
            told = {row["event_id"]: row["decisions"] for row in await with_decisions(rows, tx)}
        assert told == {first: [], second: [[str(workflow), 1, "filtered", None]]}

    async def test_an_import_tells_who_did_not_ask_for_imports_and_whose_filter_kept_it_out(self, engine: BuiltinDriver) -> None:
        trigger = {"kind": "event", "event": PatientRegistered.type}
        deaf, asks = {**definition(), "trigger": trigger}, {**definition(wait()), "trigger": trigger | {"bulk": True}}
        no, out, through = [await engine.publish(one) for one in (deaf, asks | {"condition": "event.version > 1"}, asks)]
        details = PatientDetails(given_name="Kim", family_name="Lorenz")
        said = Said(uuid4(), PatientRegistered(patient_id=uuid4(), version=1, details=details, bulk=True))
        await engine.deliver(said)
        names, told = await kept(engine, said.id)
        assert {UUID(workflow) for workflow, *_ in names} == {out, through}
        assert told == {no: (1, "bulk"), out: (1, "filtered"), through: (1, "started")}

    async def test_a_booking_matched_later_tells_of_those_that_listen_to_bookings(self, engine: BuiltinDriver) -> None:
        workflow = await engine.publish(definition(condition=OTHER))
        visit = Visit()
        matched = visit.matched()
        await engine.deliver(visit.registered(), visit.unmatched(), matched)
        assert (await kept(engine, matched.id))[1] == {workflow: (1, "filtered")}

    async def test_an_event_kept_before_there_were_revisions_tells_what_it_names(self, engine: BuiltinDriver) -> None:
        await engine.publish(definition(condition=OTHER))
        event_id = await booked(engine)
        async with engine.work(engine.admin) as tx:
            await tx.execute("UPDATE event_log SET revision = NULL WHERE event_id = $1", event_id)
        assert await kept(engine, event_id) == ([], {})


class TestSeeing:
    async def test_a_process_takes_up_what_another_one_published(self, engine: BuiltinDriver, work: Work) -> None:
        other = BuiltinDriver(work.engine, engine.practice)
        await booked(engine)
        workflow = await other.publish(definition(wait()))
        assert (await kept(engine, await booked(engine)))[1] == {workflow: (1, "started")}
        await other.edit(workflow, definition(wait(), condition=OTHER))
        await other.publish(definition(wait(), condition=OTHER), workflow)
        assert (await kept(engine, await booked(engine)))[1] == {workflow: (3, "filtered")}
        await other.unpublish(workflow)
        assert (await kept(engine, await booked(engine)))[1] == {}

    async def test_what_is_paused_stays_in_force(self, engine: BuiltinDriver) -> None:
        workflow = await engine.publish(definition(condition=OTHER))
        async with engine.work(engine.admin) as tx:
            await pause_workflow(workflow, tx)
        assert (await kept(engine, await booked(engine)))[1] == {workflow: (1, "filtered")}

    @pytest.mark.parametrize("trigger", [{"event": BOOKED}, ANCHORED])
    async def test_one_that_no_longer_compiles_fails_its_runs(
        self, engine: BuiltinDriver, monkeypatch: pytest.MonkeyPatch, trigger: dict[str, Any]
    ) -> None:
        workflow = await engine.publish({"trigger": trigger, "steps": [send()]})
        await engine.restart()
        monkeypatch.setattr(published, "compile_definition", Mock(side_effect=ValueError))
        assert (await kept(engine, await booked(engine)))[1] == {workflow: (1, "definition_invalid")}
        assert [(run.status, run.error_code) for run in await engine.runs()] == [("failed", "definition_invalid")]


class TestMigrating:
    def test_what_was_in_force_before_is_in_force_from_the_beginning(self, own_database: TestDatabase) -> None:
        practice, named, anchored, draft = (uuid4() for _ in range(4))
        owner = own_database.url("workflows_owner")
        with psycopg.connect(own_database.url("postgres"), autocommit=True) as connection:
            connection.execute("DROP SCHEMA workflows CASCADE")
            connection.execute("CREATE SCHEMA workflows AUTHORIZATION workflows_owner")
            connection.execute("GRANT USAGE ON SCHEMA workflows TO workflows_app")
            migrate("workflows", owner, "0014")
            connection.execute("SET search_path = workflows")
            for workflow, version, trigger in ((named, 2, {"event": BOOKED}), (anchored, 1, ANCHORED), (draft, None, ANCHORED)):
                connection.execute(
                    "INSERT INTO workflow (practice_id, id, name, draft, version, published_version, created_by, created_at, updated_at)"
                    " VALUES (%s, %s, 'Intake', '{}', 2, %s, '', now(), now())",
                    (practice, workflow, version),
                )
                connection.execute(
                    "INSERT INTO workflow_version (practice_id, workflow_id, version, name, definition, published_by, published_at)"
                    " VALUES (%s, %s, %s, 'Intake', %s, '', now())",
                    (practice, workflow, version or 1, Jsonb({"trigger": trigger})),
                )
            migrate("workflows", owner)
            rows = connection.execute("SELECT workflow_id, since, until, version, events FROM in_force").fetchall()
        assert {row[0]: row[1:] for row in rows} == {
            named: (0, None, 2, [BOOKED]), anchored: (0, None, 1, [*started_types(AnchoredTrigger.model_validate(ANCHORED))])
        }  # fmt: skip
