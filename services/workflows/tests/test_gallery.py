"""The gallery: every workflow of it is taken over, published without a word against it, and does what it says over virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import entry_points
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.common.work import Work
from libs.contracts.actions import ActionDescribed, ActionRequest, Outcome
from libs.contracts.envelope import MESSAGES, PLATFORM
from libs.contracts.notifications import EmailStatusChanged, MessageStatus
from libs.contracts.patients import PatientDetails, PatientRegistered, PatientTagged, PatientUntagged, PatientUpdated
from libs.contracts.scheduling import CallDirection, CallEnded
from libs.testing.fixtures import incoming
from services.workflows.commands.definitions import publish_workflow
from services.workflows.commands.gallery import UseGalleryEntry, use_gallery_entry
from services.workflows.commands.schedules import take_turns
from services.workflows.commands.webhooks import take_webhook
from services.workflows.rules.definitions.analysis import Surrounding, analysed
from services.workflows.rules.definitions.catalogue import catalogue_findings
from services.workflows.rules.definitions.compiling import compile_definition
from services.workflows.rules.definitions.output_checks import output_findings
from services.workflows.rules.definitions.reading import read_definition
from services.workflows.rules.definitions.trigger_checks import trigger_findings
from services.workflows.rules.gallery import GALLERY, filled
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.driver import Said
from services.workflows.tests.engine.world import BERLIN, HOURS, Visit, pass_until, practice_created
from services.workflows.tests.test_api import Headers

DAYS = timedelta(days=1)
HOURS_OPEN = [(day, "08:00", "18:00") for day in ("monday", "tuesday", "wednesday", "thursday", "friday")]


def offered() -> dict[str, ActionDescribed]:
    """What the installed plug-ins offer."""
    descriptions = [point.load().description() for point in entry_points(group="vantage.actions")]
    return {description.name: description for description in descriptions}


class Practice:
    """A practice under a clock of its own that takes workflows from the gallery."""

    def __init__(self, driver: BuiltinDriver) -> None:
        self.driver = driver

    async def takes(self, gallery_id: str, **values: str) -> UUID:
        async with self.driver.work(self.driver.admin) as tx:
            view = await use_gallery_entry(gallery_id, UseGalleryEntry(values=values), tx)
            await tx.flush()
            await publish_workflow(view.id, tx)
            return view.id

    async def asked(self) -> list[tuple[str, Mapping[str, Any]]]:
        """What was asked of the owners of actions."""
        return [(request.action, request.parameters) for request in await self.driver.requests()]

    async def names(self) -> list[str]:
        return [action for action, _ in await self.asked()]

    async def answers_all(self, outcome: Outcome = Outcome.SUCCEEDED, code: str | None = None) -> None:
        """Every request so far has this answer; what was answered before stays as it was."""
        for request in await self.driver.requests():
            await self.driver.answer(request, outcome, code)

    async def last(self) -> ActionRequest:
        return (await self.driver.requests())[-1]


@pytest.fixture
async def practice_of(work: Work) -> Practice:
    driver = BuiltinDriver(work.engine)
    driver.now = datetime(2030, 1, 7, 8, 0, tzinfo=UTC)  # a Monday, nine o'clock in Berlin
    await driver.batches.handle([incoming(description, PLATFORM) for description in offered().values()])
    await driver.deliver(practice_created(driver.practice, HOURS_OPEN))
    return Practice(driver)


def person(**details: Any) -> Said:
    known: dict[str, Any] = {"given_name": "Kim", "family_name": "Lorenz", "email": "kim.lorenz@patients.example", "phone": "+4930901820"}
    return Said(
        uuid4(), PatientRegistered(patient_id=details.pop("patient_id", uuid4()), version=1, details=PatientDetails(**known | details))
    )


def tagged(patient_id: UUID, tag: str, tag_id: UUID | None = None) -> Said:
    return Said(uuid4(), PatientTagged(patient_id=patient_id, tag_id=tag_id or uuid4(), tag=tag))


async def visit_in(practice: Practice, ahead: timedelta, email: str | None = "kim.lorenz@patients.example") -> Visit:
    """A patient with a phone, and an appointment so far ahead that is booked now."""
    visit = Visit(starts_at=practice.driver.now + ahead, email=email)
    assert visit.patient_id is not None
    await practice.driver.deliver(person(patient_id=visit.patient_id, email=email), visit.booked())
    return visit


def test_installed_actions_say_what_they_cause_in_events_that_exist() -> None:
    actions = offered()
    assert {cause for action in actions.values() for cause in action.causes} <= set(MESSAGES)
    assert actions["update_patient"].causes == [PatientUpdated.type]
    assert actions["add_tag"].causes == [PatientTagged.type]
    without = {name for name, action in actions.items() if not action.needs_person}
    assert without == {"cancel_appointment", "create_task", "http_request", "start_workflow"}


class TestEveryEntry:
    def test_there_are_at_least_twelve(self) -> None:
        assert len(GALLERY) >= 12
        assert all(entry.id == gallery_id for gallery_id, entry in GALLERY.items())

    @pytest.mark.parametrize("gallery_id", GALLERY)
    def test_compiles_and_fits_the_installed_actions_without_a_word_against_it(self, gallery_id: str) -> None:
        definition = read_definition(filled(GALLERY[gallery_id], {}))
        actions = {name: description.model_dump() for name, description in offered().items()}
        around = Surrounding(uuid4(), "Mine", actions)
        assert list(compile_definition(definition).warnings) == []
        assert [*trigger_findings(definition), *output_findings(definition, actions)] == []
        assert catalogue_findings(definition, actions) == []
        assert analysed(definition, around) == []

    @pytest.mark.parametrize("gallery_id", GALLERY)
    def test_shows_what_stands_in_its_definition_as_the_usual_values(self, gallery_id: str) -> None:
        entry = GALLERY[gallery_id]
        assert filled(entry, {}) == dict(entry.definition)
        assert len({blank.name for blank in entry.blanks}) == len(entry.blanks)

    def test_they_get_along_with_each_other(self) -> None:
        """Nobody starts itself or another in a circle by what it does."""
        actions = {name: description.model_dump() for name, description in offered().items()}
        for entry in GALLERY.values():
            found = analysed(read_definition(filled(entry, {})), Surrounding(uuid4(), entry.title, actions))
            assert [one for one in found if one.code in {"triggers_itself", "workflows_start_each_other"}] == []


class TestReminders:
    async def test_24_hours_before_and_at_the_new_time_when_the_appointment_moves(self, practice_of: Practice) -> None:
        await practice_of.takes("reminder-day-before")
        visit = await visit_in(practice_of, 3 * DAYS)
        await practice_of.driver.pass_time(DAYS)
        await practice_of.driver.deliver(visit.moved(visit.starts_at + 2 * DAYS))
        await practice_of.driver.pass_time(2 * DAYS)
        assert await practice_of.asked() == []
        await practice_of.driver.pass_time(DAYS)
        ((action, parameters),) = await practice_of.asked()
        assert (action, parameters["subject"]) == ("send_email", "Your appointment at Elm Street Practice")
        assert "on 12 January 2030 at 9:00." in parameters["text"]

    async def test_one_that_is_cancelled_is_not_reminded_of(self, practice_of: Practice) -> None:
        await practice_of.takes("reminder-day-before")
        visit = await visit_in(practice_of, 3 * DAYS)
        await practice_of.driver.deliver(visit.cancelled())
        await practice_of.driver.pass_time(3 * DAYS)
        assert await practice_of.asked() == []

    async def test_booked_within_a_day_it_is_sent_at_once_while_enough_is_left(self, practice_of: Practice) -> None:
        await practice_of.takes("reminder-day-before", left="PT5H")
        await visit_in(practice_of, 6 * HOURS)
        await visit_in(practice_of, 4 * HOURS)
        assert await practice_of.names() == ["send_email"]

    async def test_at_18_the_day_before(self, practice_of: Practice) -> None:
        await practice_of.takes("reminder-evening-before")
        visit = await visit_in(practice_of, 2 * DAYS)
        evening = datetime.combine(visit.starts_at.astimezone(BERLIN).date() - DAYS, datetime.min.time(), BERLIN) + 18 * HOURS
        await pass_until(practice_of.driver, evening - timedelta(seconds=1))
        assert await practice_of.names() == []
        await practice_of.driver.pass_time(timedelta(seconds=1))
        assert await practice_of.names() == ["send_email"]
        await visit_in(practice_of, 12 * HOURS)
        assert await practice_of.names() == ["send_email"]  # booked after that evening

    async def test_unconfirmed_it_is_called_about_two_hours_later_and_staff_do_when_that_fails(self, practice_of: Practice) -> None:
        await practice_of.takes("unconfirmed-call")
        await visit_in(practice_of, 3 * DAYS)
        await practice_of.driver.pass_time(DAYS)
        assert await practice_of.names() == ["send_email"]
        await practice_of.answers_all()
        await practice_of.driver.pass_time(2 * HOURS)
        assert await practice_of.names() == ["send_email", "start_call"]
        await practice_of.driver.answer(await practice_of.last(), Outcome.FAILED, "calls_not_configured")
        assert (await practice_of.last()).action == "create_task"

    async def test_confirmed_or_cancelled_nobody_is_called(self, practice_of: Practice) -> None:
        await practice_of.takes("unconfirmed-call")
        confirmed, cancelled = await visit_in(practice_of, 3 * DAYS), await visit_in(practice_of, 3 * DAYS)
        await practice_of.driver.pass_time(DAYS)
        await practice_of.answers_all()
        await practice_of.driver.deliver(confirmed.confirmed(), cancelled.cancelled())
        await practice_of.driver.pass_time(3 * DAYS)
        assert await practice_of.names() == ["send_email", "send_email"]

    async def test_an_appointment_that_moved_is_told_at_its_new_time(self, practice_of: Practice) -> None:
        await practice_of.takes("appointment-moved")
        visit = await visit_in(practice_of, 3 * DAYS)
        await practice_of.driver.deliver(visit.moved(visit.starts_at + DAYS + timedelta(minutes=5)))
        ((_, parameters),) = await practice_of.asked()
        assert "now on 11 January 2030 at 9:05." in parameters["text"]


class TestVisits:
    async def test_the_intake_form_goes_to_who_books_and_once_a_month(self, practice_of: Practice) -> None:
        await practice_of.takes("intake-form", text="Form: https://forms.practice.example/x for {{ patient.given_name }}")
        visit = await visit_in(practice_of, DAYS)
        await practice_of.driver.deliver(visit.again().booked())
        ((_, parameters),) = await practice_of.asked()
        assert parameters["text"] == "Form: https://forms.practice.example/x for Kim"
        await practice_of.driver.pass_time(31 * DAYS)
        await practice_of.driver.deliver(visit.again().booked())
        assert len(await practice_of.asked()) == 2
        await visit_in(practice_of, DAYS, email=None)
        assert len(await practice_of.asked()) == 2

    async def test_a_missed_visit_is_written_about_after_an_hour_and_noted_without_a_booking(self, practice_of: Practice) -> None:
        await practice_of.takes("no-show-follow-up", patience="P2D")
        visit, came = await visit_in(practice_of, DAYS), await visit_in(practice_of, DAYS)
        await practice_of.driver.pass_time(DAYS + HOURS)
        await practice_of.driver.deliver(visit.missed(), came.completed())
        assert await practice_of.names() == []
        await practice_of.driver.pass_time(HOURS)
        assert await practice_of.names() == ["send_email"]
        assert (await practice_of.last()).patient_id == visit.patient_id
        await practice_of.answers_all()
        await practice_of.driver.pass_time(2 * DAYS)
        assert await practice_of.names() == ["send_email", "add_note"]

    async def test_a_missed_visit_of_a_patient_without_an_address_is_noted_all_the_same(self, practice_of: Practice) -> None:
        await practice_of.takes("no-show-follow-up")
        visit = await visit_in(practice_of, DAYS, email=None)
        await practice_of.driver.pass_time(DAYS)
        await practice_of.driver.deliver(visit.missed())
        await practice_of.driver.pass_time(4 * DAYS)
        assert await practice_of.names() == ["add_note"]

    @pytest.mark.parametrize("correction", ["reopened", "completed"])
    async def test_a_mark_that_is_taken_back_within_the_hour_writes_to_nobody(self, practice_of: Practice, correction: str) -> None:
        await practice_of.takes("no-show-follow-up")
        visit = await visit_in(practice_of, DAYS)
        await practice_of.driver.pass_time(DAYS + HOURS)
        await practice_of.driver.deliver(visit.missed())
        await practice_of.driver.pass_time(HOURS / 2)
        await practice_of.driver.deliver(getattr(visit, correction)())
        await practice_of.driver.pass_time(4 * DAYS)
        assert await practice_of.names() == []
        await practice_of.driver.deliver(visit.missed())
        await practice_of.driver.pass_time(HOURS)
        assert await practice_of.names() == ["send_email"]

    async def test_who_books_again_after_a_missed_visit_gets_no_note(self, practice_of: Practice) -> None:
        await practice_of.takes("no-show-follow-up")
        visit = await visit_in(practice_of, DAYS)
        await practice_of.driver.pass_time(DAYS + HOURS)
        await practice_of.driver.deliver(visit.missed())
        await practice_of.driver.pass_time(HOURS)
        await practice_of.answers_all()
        await practice_of.driver.deliver(visit.again(practice_of.driver.now + DAYS).booked())
        await practice_of.driver.pass_time(4 * DAYS)
        assert await practice_of.names() == ["send_email"]
        assert [run.status for run in await practice_of.driver.runs()] == ["completed"]

    async def test_the_feedback_form_goes_two_hours_after_a_visit_to_who_came_and_once_a_month(self, practice_of: Practice) -> None:
        await practice_of.takes("visit-feedback")
        came, mistaken = await visit_in(practice_of, DAYS), await visit_in(practice_of, DAYS)
        await practice_of.driver.pass_time(DAYS + HOURS)
        await practice_of.driver.deliver(came.completed(), mistaken.completed(), mistaken.missed())
        await practice_of.driver.pass_time(2 * HOURS - timedelta(seconds=1))
        assert await practice_of.names() == []
        await practice_of.driver.pass_time(timedelta(seconds=1))
        assert [request.patient_id for request in await practice_of.driver.requests()] == [came.patient_id]
        another = came.again()
        await practice_of.driver.deliver(another.booked(), another.completed())
        await practice_of.driver.pass_time(DAYS)
        assert await practice_of.names() == ["send_email"]

    @pytest.mark.parametrize("rebooks", [True, False])
    async def test_after_a_cancellation_staff_offer_another_time_unless_one_is_booked(self, practice_of: Practice, rebooks: bool) -> None:
        await practice_of.takes("cancellation-rebooking")
        visit = await visit_in(practice_of, 9 * DAYS)
        await practice_of.driver.pass_time(2 * HOURS)
        await practice_of.driver.deliver(visit.cancelled())
        if rebooks:
            await practice_of.driver.deliver(visit.again(visit.starts_at + DAYS).booked())
        await practice_of.driver.pass_time(2 * DAYS)
        assert await practice_of.names() == ([] if rebooks else ["create_task"])

    async def test_two_days_after_a_visit_at_ten_to_who_came(self, practice_of: Practice) -> None:
        await practice_of.takes("post-visit-follow-up")
        visit, missed = await visit_in(practice_of, DAYS), await visit_in(practice_of, DAYS)
        ten = datetime.combine(visit.starts_at.astimezone(BERLIN).date() + 2 * DAYS, datetime.min.time(), BERLIN) + 10 * HOURS
        await practice_of.driver.pass_time(DAYS + HOURS)
        await practice_of.driver.deliver(visit.completed(), missed.missed())
        await pass_until(practice_of.driver, ten - timedelta(seconds=1))
        assert await practice_of.names() == []
        await practice_of.driver.pass_time(timedelta(seconds=1))
        assert [request.patient_id for request in await practice_of.driver.requests()] == [visit.patient_id]

    @pytest.mark.parametrize(("gallery_id", "days"), [("recall-6-months", 182), ("recall-12-months", 364)])
    async def test_a_recall_comes_after_its_months_unless_there_was_another_booking(
        self, practice_of: Practice, gallery_id: str, days: int
    ) -> None:
        await practice_of.takes(gallery_id)
        alone, again, missed = [await visit_in(practice_of, DAYS) for _ in range(3)]
        await practice_of.driver.pass_time(2 * DAYS)
        await practice_of.driver.deliver(missed.missed())
        await practice_of.driver.pass_time(98 * DAYS)
        await practice_of.driver.deliver(again.again(practice_of.driver.now + 900 * DAYS).booked())
        await practice_of.driver.pass_time((days - 100) * DAYS)
        assert await practice_of.names() == []
        await practice_of.driver.pass_time(2 * DAYS)
        assert [request.patient_id for request in await practice_of.driver.requests()] == [alone.patient_id]


class TestPeople:
    async def test_new_patients_are_welcomed_once_and_those_of_an_import_are_not(self, practice_of: Practice) -> None:
        await practice_of.takes("new-patient-welcome", subject="Hello from {{ practice.name }}")
        one = person()
        await practice_of.driver.deliver(one, one, person(email=None))
        ((action, parameters),) = await practice_of.asked()
        assert (action, parameters["subject"]) == ("send_email", "Hello from Elm Street Practice")

    async def test_new_patients_are_called_at_the_next_ten_the_practice_is_open(self, practice_of: Practice) -> None:
        await practice_of.takes("new-patient-call")
        await practice_of.driver.pass_time(4 * DAYS + 5 * HOURS)  # Friday afternoon
        await practice_of.driver.deliver(person(), person(phone=None))
        await practice_of.driver.pass_time(2 * DAYS)
        assert await practice_of.names() == []
        await practice_of.driver.pass_time(DAYS)
        assert await practice_of.names() == ["start_call"]
        await practice_of.answers_all(Outcome.FAILED, "call_not_connected")
        assert await practice_of.names() == ["start_call", "create_task"]

    async def test_birthdays_are_greeted_on_the_day(self, practice_of: Practice) -> None:
        driver = practice_of.driver
        await driver.deliver(person(birth_date=date(1980, 1, 9)), person(birth_date=date(1981, 1, 10)), person(), person(birth_date=None))
        await practice_of.takes("birthday-greeting")
        for _ in range(2 * 24):
            await driver.pass_time(HOURS)
            while await take_turns(driver.work, driver.published):
                pass
        ((action, parameters),) = await practice_of.asked()
        assert (action, parameters["subject"]) == ("send_email", "Greetings from Elm Street Practice")

    @pytest.mark.parametrize(
        ("today", "greeted"), [("2026-02-28", True), ("2028-02-28", False), ("2028-02-29", True), ("2026-03-01", False)]
    )
    async def test_who_was_born_on_a_leap_day_is_greeted_once_a_year(self, practice_of: Practice, today: str, greeted: bool) -> None:
        driver = practice_of.driver
        driver.now = datetime.fromisoformat(f"{today}T00:30:00+00:00").astimezone(UTC)
        await driver.deliver(person(birth_date=date(1984, 2, 29)), person(birth_date=date(1984, 2, 27)))
        await practice_of.takes("birthday-greeting")
        for _ in range(12):
            await driver.pass_time(HOURS)
            while await take_turns(driver.work, driver.published):
                pass
        assert len(await practice_of.asked()) == greeted

    async def test_an_address_mails_come_back_from_is_checked_once_a_week(self, practice_of: Practice) -> None:
        await practice_of.takes("email-bounced")
        visit = await visit_in(practice_of, DAYS)
        for status in (MessageStatus.DELIVERED, MessageStatus.BOUNCED, MessageStatus.BOUNCED, MessageStatus.COMPLAINED):
            news = EmailStatusChanged(message_id=uuid4(), patient_id=visit.patient_id, status=status, at=practice_of.driver.now)
            await practice_of.driver.deliver(Said(uuid4(), news))
        ((action, parameters),) = await practice_of.asked()
        assert (action, parameters["text"]) == ("create_task", "An e-mail to this patient came back: bounced.")

    @pytest.mark.parametrize("sent", [True, False])
    async def test_missing_insurance_is_asked_for_and_then_staff_do(self, practice_of: Practice, sent: bool) -> None:
        await practice_of.takes("insurance-missing")
        visit = await visit_in(practice_of, DAYS)
        assert visit.patient_id is not None
        tag_id = uuid4()
        await practice_of.driver.deliver(tagged(visit.patient_id, "insurance missing", tag_id))
        await practice_of.answers_all()
        if sent:
            gone = PatientUntagged(patient_id=visit.patient_id, tag_id=tag_id, tag="insurance missing")
            await practice_of.driver.deliver(Said(uuid4(), gone))
        await practice_of.driver.pass_time(3 * DAYS)
        assert await practice_of.names() == (["send_email"] if sent else ["send_email", "create_task"])

    async def test_a_double_booking_is_a_task_at_once(self, practice_of: Practice) -> None:
        await practice_of.takes("double-booking")
        visit = await visit_in(practice_of, DAYS)
        assert await practice_of.names() == []
        twice = visit.again().booked()
        await practice_of.driver.deliver(Said(twice.id, twice.message.model_copy(update={"double_booked": True})))
        assert await practice_of.names() == ["create_task"]

    async def test_an_enquiry_from_the_website_is_a_task_with_what_was_written(self, practice_of: Practice) -> None:
        workflow_id = await practice_of.takes("website-enquiry")
        driver = practice_of.driver
        async with driver.work(driver.admin) as tx:
            await take_webhook(workflow_id, "call-1", {"name": "Ada Lund", "message": "{{ 1/0 }}"}, driver.published, tx)
        ((action, parameters),) = await practice_of.asked()
        assert (action, parameters["title"]) == ("create_task", "New enquiry from the website")
        assert parameters["text"] == "Name: Ada Lund\nPhone: not given\nE-mail: not given\n\n{{ 1/0 }}"

    async def test_who_was_not_reached_by_phone_gets_a_mail(self, practice_of: Practice) -> None:
        await practice_of.takes("call-not-reached")
        visit = await visit_in(practice_of, DAYS)
        for connected, direction in ((True, CallDirection.OUTBOUND), (False, CallDirection.INBOUND), (False, CallDirection.OUTBOUND)):
            ended = CallEnded(
                call_id=uuid4(), patient_id=visit.patient_id, direction=direction, provider="retell", external_id="x", agent_id="a",
                connected=connected, ended_at=practice_of.driver.now, duration_seconds=0,
            )  # fmt: skip
            await practice_of.driver.deliver(Said(uuid4(), ended))
        assert await practice_of.names() == ["send_email"]


class TestOverHttp:
    async def test_the_gallery_is_listed_by_category_with_what_there_is_to_fill_in(
        self, client: httpx.AsyncClient, as_user: Headers
    ) -> None:
        whole = (await client.get("/v1/gallery", headers=as_user)).json()["items"]
        assert [one["id"] for one in whole] == list(GALLERY)
        recalls = (await client.get("/v1/gallery", params={"category": "recall"}, headers=as_user)).json()["items"]
        assert {one["id"] for one in recalls} == {"recall-6-months", "recall-12-months"}
        assert {one["name"]: one["default"] for one in recalls[0]["parameters"]}["after"] == "P182D"
        assert (await client.get("/v1/gallery", params={"category": "x"}, headers=as_user)).status_code == 422

    async def test_one_is_shown_with_its_definition_and_the_actions_nobody_offers(
        self, client: httpx.AsyncClient, as_user: Headers
    ) -> None:
        shown = (await client.get("/v1/gallery/new-patient-call", headers=as_user)).json()
        assert (shown["actions"], shown["definition"]["steps"][1]["action"]) == (["create_task", "start_call"], "start_call")
        assert set(shown["missing"]) <= set(shown["actions"])
        for missing in ("nothing", "..%2Fx", "x" * 51):
            assert (await client.get(f"/v1/gallery/{missing}", headers=as_user)).status_code in {404, 422}

    async def test_using_one_makes_a_draft_with_the_values(self, client: httpx.AsyncClient, as_admin: Headers, as_user: Headers) -> None:
        sent = {"name": "Three days before", "values": {"before": "-P3D", "subject": "Soon"}}
        keyed = as_admin | {"Idempotency-Key": "use-1"}
        made, again = [await client.post("/v1/gallery/reminder-day-before/use", json=sent, headers=keyed) for _ in range(2)]
        assert (made.status_code, made.json()["status"], made.json()["name"]) == (201, "draft", "Three days before")
        assert made.json()["id"] == again.json()["id"]
        definition = made.json()["definition"]
        assert (definition["trigger"]["anchor"]["offset"], definition["steps"][0]["parameters"]["subject"]) == ("-P3D", "Soon")
        plain = await client.post("/v1/gallery/reminder-day-before/use", headers=as_admin)
        assert plain.json()["name"] == GALLERY["reminder-day-before"].title
        assert (await client.post("/v1/gallery/reminder-day-before/use", headers=as_user)).status_code == 403
        assert (await client.post("/v1/gallery/nothing/use", headers=as_admin)).json()["code"] == "gallery_entry_not_found"

    @pytest.mark.parametrize(
        ("values", "pointer", "code"),
        [
            ({"before": "soon"}, "/values/before", "time_delta_parsing"), ({"text": "{{ nobody }}"}, "/values/text", "invalid_expression"),
            ({"text": "{{ unclosed"}, "/values/text", "template_unclosed"), ({"befor": "-P1D"}, "/values/befor", "unknown_value"),
            ({"before": "-P3Y"}, "/values/before", "greater_than_equal"),
        ],
    )  # fmt: skip
    async def test_a_value_that_does_not_fit_is_named(
        self, client: httpx.AsyncClient, as_admin: Headers, values: dict[str, str], pointer: str, code: str
    ) -> None:
        answer = await client.post("/v1/gallery/reminder-day-before/use", json={"values": values}, headers=as_admin)
        assert (answer.status_code, answer.json()["code"]) == (422, "definition_refused")
        assert [(one["pointer"], one["code"]) for one in answer.json()["errors"]] == [(pointer, code)]
        assert (await client.get("/v1/workflows", headers=as_admin)).json()["items"] == []

    async def test_a_value_cannot_break_out_of_its_quotes(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        hostile = '" || true || event.tag == "'
        made = await client.post("/v1/gallery/insurance-missing/use", json={"values": {"tag": hostile}}, headers=as_admin)
        assert made.status_code == 201
        assert made.json()["definition"]["condition"] == 'event.tag == "\\" || true || event.tag == \\""'
