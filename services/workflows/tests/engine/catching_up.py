"""Catching up after downtime: part of the suite every engine passes."""

from __future__ import annotations

from collections import Counter

from libs.contracts.actions import Outcome
from services.workflows.tests.engine.driver import EngineDriver
from services.workflows.tests.engine.world import CONFIRMED, HOURS, Visit, anchor, booked, definition, heard, reminder, send, wait, wait_for


class CatchingUpSuite:
    async def test_many_that_fell_due_while_nobody_was_there_come_once_and_by_their_policy(self, engine: EngineDriver) -> None:
        policies = {"proceed": "proceed", "skip": "skip", "left": "PT1H"}
        by_workflow = {await engine.publish(reminder("trigger", anchor("-PT4H"), policy)): name for name, policy in policies.items()}
        visits = [Visit(starts_at=engine.now + (6 if place % 2 else 8) * HOURS) for place in range(20)]
        await engine.deliver(*(visit.registered() for visit in visits), *(visit.booked() for visit in visits))
        await engine.restart(away=5.5 * HOURS)  # half an hour is left to ten of them, two and a half hours to the others
        await engine.restart()
        await engine.pass_time(HOURS)
        by_run = {run.id: by_workflow[run.workflow_id] for run in await engine.runs()}
        asked = Counter(by_run[request.run_id] for request in await engine.requests())
        assert asked == {"proceed": 20, "left": 10}
        assert len({request.effect_key for request in await engine.requests()}) == 30
        assert Counter(run.steps for run in await engine.runs() if by_workflow[run.workflow_id] == "skip") == {
            (("@anchor", "skipped"),): 20
        }

    async def test_what_begins_on_the_return_goes_on_beside_what_is_overdue(self, engine: EngineDriver) -> None:
        await engine.publish(definition(wait("PT1H"), send("late")))
        await engine.publish(definition(send("now"), wait("PT1M"), send("then")))
        early = [Visit() for _ in range(10)]
        await engine.deliver(*(visit.registered() for visit in early), *(visit.booked() for visit in early))
        for request in await engine.requests():
            await engine.answer(request, Outcome.SUCCEEDED)
        fresh = Visit()
        await engine.deliver_later(5 * HOURS, fresh.registered(), fresh.booked())
        await engine.pass_time(HOURS * 0)
        asked = Counter(request.step_id for request in await engine.requests())
        assert asked == {"late": 10, "then": 10, "now": 11}

    async def test_who_answered_meanwhile_has_answered_though_the_time_is_over_too(self, engine: EngineDriver) -> None:
        """The time-out rings late; what came before it rang counts."""
        await engine.publish(definition(wait_for(heard(CONFIRMED), timeout="PT1H"), send(when="steps.reply.outcome == 'timed_out'")))
        answered, silent = await booked(engine), await booked(engine)
        await engine.deliver_later(0.5 * HOURS, answered.confirmed())
        await engine.restart(away=5 * HOURS)
        assert [request.patient_id for request in await engine.requests()] == [silent.patient_id]
