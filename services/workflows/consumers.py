"""What workflows hears: every event that may start a run, saved filters, owners' results, and the action catalogue."""

from __future__ import annotations

from typing import Any

from libs.common.access import Access
from libs.common.actions.performing import Performing
from libs.common.errors import Held
from libs.common.messaging import Consumer, Received
from libs.common.work import Tx
from libs.contracts import notifications, patients, practices, scheduling, workflows
from libs.contracts.actions import ActionDescribed
from libs.contracts.envelope import PLATFORM
from libs.contracts.scheduling import AppointmentState
from services.workflows.commands import projections
from services.workflows.commands.arrivals import bring_to_rest, deliver
from services.workflows.commands.happening import Happening
from services.workflows.commands.published import PublishedWorkflows
from services.workflows.commands.resolving import said_before
from services.workflows.commands.runs import follow_appointments, take_results
from services.workflows.commands.schedules import follow_zone
from services.workflows.commands.serial import one_at_a_time
from services.workflows.commands.starting import start_runs
from services.workflows.rules.definitions.triggers import TRIGGERS


class PracticeHeld(Held):
    """The practice is suspended; this waits."""


def subscribe(consumer: Consumer, published: PublishedWorkflows, access: Access, performing: Performing) -> None:
    @consumer.first
    async def in_turn(events: list[Received[Any]], tx: Tx) -> None:
        await one_at_a_time({event.practice_id for event in events if event.practice_id != PLATFORM}, tx)
        tx.after_commit(published.orchestration.hint)

    @consumer.on_batch(*TRIGGERS)
    async def happened(events: list[Received[Any]], tx: Tx) -> None:
        """What is known first, then what follows from it: an expression sees the state its event reports."""
        await _hold_suspended(events, tx)
        times = await _learn(events, tx)
        happenings = [Happening.of(event) for event in events]
        # Before runs follow their appointment: one that waits for its time takes the move, and no second one starts.
        moved = await start_runs(happenings, published, tx)
        if times:
            moved += await follow_appointments(times, published, tx)
        await bring_to_rest(moved + await deliver(happenings, published, tx, moved), published, tx)

    @consumer.on(practices.PracticeCreated, practices.PracticeChanged)
    async def practice_changed(event: Received[Any], tx: Tx) -> None:
        await projections.follow_practice(event, tx)
        await follow_zone(event.practice_id, tx)

    @consumer.on(patients.PatientFilterSaved, patients.PatientFilterChanged, patients.PatientFilterRemoved)
    async def filter_changed(event: Received[Any], tx: Tx) -> None:
        await projections.follow_filter(event, tx)

    @consumer.on_batch(workflows.PerformAction)
    async def requested(events: list[Received[Any]], tx: Tx) -> None:
        await _hold_suspended(events, tx)
        await performing.take(events, tx)

    @consumer.on_batch(patients.ActionFinished, scheduling.ActionFinished, notifications.ActionFinished, workflows.ActionFinished)
    async def finished(events: list[Received[Any]], tx: Tx) -> None:
        await _hold_suspended(events, tx)
        settled = await said_before(events, tx)
        news = [event for event in events if (event.practice_id, event.data.effect_key) not in settled]
        await bring_to_rest(await take_results(news, published, tx), published, tx)

    @consumer.on(ActionDescribed)
    async def described(event: Received[ActionDescribed], tx: Tx) -> None:
        await projections.follow_catalogue(event, tx)

    async def _hold_suspended(events: list[Received[Any]], tx: Tx) -> None:
        """No run starts or goes on for a suspended practice: its messages wait, each in its place, until it is reactivated."""
        if await access.suspended({event.practice_id for event in events}, tx):
            raise PracticeHeld


async def _learn(events: list[Received[Any]], tx: Tx) -> list[Received[Any]]:
    """Take over what events report of patients and appointments; returns those of appointments."""
    people = [e for e in events if isinstance(e.data, patients.PatientRegistered | patients.PatientUpdated)]
    times = [e for e in events if isinstance(e.data, AppointmentState)]
    if people:
        await projections.follow_patients(people, tx)
    tags = [e for e in events if isinstance(e.data, patients.PatientTagged | patients.PatientUntagged)]
    if tags:
        await projections.follow_tags(tags, tx)
    if times:
        await projections.follow_appointments(times, tx)
    return times
