"""Definitions nobody should have sent: each is refused at save, by field and step, in one form, and nothing is kept."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from services.workflows.adapters import trial
from services.workflows.rules.definitions.reading import MAX_BYTES
from services.workflows.rules.definitions.steps import MAX_DEPTH, MAX_STEPS
from services.workflows.tests.engine.world import BOOKED, CONFIRMED, anchor, definition, heard, reminder, send, until, wait, wait_for
from services.workflows.tests.test_api import Headers

ANCHOR = {"of": "appointment.starts_at", "offset": "-P1D"}
LEFT = {"kind": "anchored", "anchor": ANCHOR, "past_due": {"policy": "proceed_if_left", "left": True}}


def branch(step: str, *inside: dict[str, Any], when: str = "event.double_booked") -> dict[str, Any]:
    return {"kind": "branch", "id": step, "cases": [{"when": when, "steps": list(inside)}]}


def nested(depth: int) -> dict[str, Any]:
    return branch(f"level-{depth}", nested(depth - 1)) if depth else send("deepest")


def scheduled(**fields: Any) -> dict[str, Any]:
    return definition(wait()) | {"trigger": {"kind": "schedule", "cron": "0 9 * * *", **fields}}


async def refused(client: httpx.AsyncClient, headers: Headers, written: Any) -> list[dict[str, Any]]:
    """What is said against it."""
    answer = await client.post("/v1/workflows", json={"name": "Bad", "definition": written}, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "definition_refused", answer.text
    assert (await client.get("/v1/workflows", headers=headers)).json()["items"] == []
    errors: list[dict[str, Any]] = problem["errors"]
    assert all(error["severity"] == "error" and error["message"] for error in errors)
    return errors


class Bad:
    """One thing that is wrong, and what is said of it: code, pointer, step, hint."""

    @staticmethod
    async def says(
        client: httpx.AsyncClient, headers: Headers, written: Any, *expected: tuple[str, str, str | None]
    ) -> list[dict[str, Any]]:
        errors = await refused(client, headers, written)
        assert [(one["code"], one["pointer"], one.get("step")) for one in errors] == list(expected)
        return errors


class TestSize(Bad):
    async def test_103_ten_thousand_steps(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        many = [{"kind": "stop", "id": f"s{number}"} for number in range(2000)]
        await self.says(client, as_admin, definition(*many), ("too_long", "/definition/steps", None))
        beyond = [{"kind": "stop", "id": f"s{number}"} for number in range(10_000)]
        content = json.dumps({"name": "Bad", "definition": definition(*beyond)})
        answer = await client.post("/v1/workflows", content=content, headers=as_admin | {"content-type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (400, "json_too_deep")

    async def test_more_steps_than_fit_spread_over_branches(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        ways = [branch(f"b{way}", *(send(f"s{way}-{number}") for number in range(MAX_STEPS // 2))) for way in range(2)]
        place = f"/definition/steps/1/cases/0/steps/{MAX_STEPS // 2 - 2}"
        await self.says(client, as_admin, definition(*ways), ("too_many_steps", place, f"s1-{MAX_STEPS // 2 - 2}"))

    async def test_more_bytes_than_fit(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        large = [send(f"s{number}", text="x" * 19_000) for number in range(MAX_BYTES // 19_000 + 1)]
        await self.says(client, as_admin, definition(*large), ("too_large", "/definition", None))

    async def test_parameters_too_large_or_too_deep(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        deep: Any = "x"
        for _ in range(9):
            deep = {"a": deep}
        for parameters in (deep, {"a": "x" * 20_001}, {"a": list(range(501))}):
            step = {**send("big"), "parameters": parameters}
            await self.says(client, as_admin, definition(step), ("value_error", "/definition/steps/0/parameters", "big"))


class TestNesting(Bad):
    async def test_branches_too_deep_within_branches(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        place = "/definition/steps/0" + "/cases/0/steps/0" * MAX_DEPTH
        await self.says(client, as_admin, definition(nested(MAX_DEPTH)), ("nested_too_deeply", place, "deepest"))

    async def test_103_a_cycle_or_a_step_that_goes_to_itself_cannot_be_said(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        """Steps have no targets: the order they are written in is the order they are done in. What names a target is unknown."""
        for jump in ({"next": "pause"}, {"goto": "pause"}, {"target": "nowhere"}):
            (name,) = jump
            await self.says(client, as_admin, definition(wait() | jump), ("unknown_field", f"/definition/steps/0/{name}", "pause"))
        await self.says(client, as_admin, definition({"kind": "goto", "id": "back"}), ("unknown_kind", "/definition/steps/0", "back"))

    async def test_103_a_step_that_is_never_reached(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        lost = definition({"kind": "stop", "id": "end"}, send("lost"))
        await self.says(client, as_admin, lost, ("unreachable_step", "/definition/steps/1", "lost"))

    async def test_two_steps_of_one_id_wherever_they_stand(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        twice = definition(send("same"), branch("b", send("same")))
        await self.says(client, as_admin, twice, ("duplicate_id", "/definition/steps/1/cases/0/steps/0/id", "same"))


class TestTimes(Bad):
    @pytest.mark.parametrize("duration", [-1, 0, "-PT1S", "PT0S", "P100Y", 3_155_760_000, "NaN", "Infinity", "soon", None, [], {}, "P1D2H"])
    async def test_104_a_delay_of_minus_one_second_nothing_a_hundred_years_or_no_number(
        self, client: httpx.AsyncClient, as_admin: Headers, duration: Any
    ) -> None:
        (error,) = await refused(client, as_admin, definition(wait() | {"duration": duration}))
        assert (error["pointer"], error["step"]) == ("/definition/steps/0/duration", "pause")

    @pytest.mark.parametrize(
        ("duration", "message"),
        [
            ("soon", "This is no duration: five minutes are PT5M, two hours PT2H, three days P3D."),
            ("PT0S", "Should be greater than or equal to 0.1 seconds."),
            ("P500D", "Should be less than or equal to 400 days."),
        ],
    )
    async def test_a_duration_is_refused_in_words_for_people(
        self, client: httpx.AsyncClient, as_admin: Headers, duration: str, message: str
    ) -> None:
        (error,) = await refused(client, as_admin, definition(wait() | {"duration": duration}))
        assert error["message"] == message

    @pytest.mark.parametrize(
        ("written", "code", "place", "step"),
        [
            (definition(wait() | {"duration": True}), "boolean_for_number", "/steps/0/duration", "pause"),
            (definition(wait() | {"duration": "P5M"}), "month_for_minutes", "/steps/0/duration", "pause"),
            (definition(wait() | {"duration": "12:00"}), "clock_for_duration", "/steps/0/duration", "pause"),
            (definition(wait_for(heard(BOOKED)) | {"timeout": True}), "boolean_for_number", "/steps/0/timeout", "reply"),
            (definition(wait_for(heard(BOOKED), look_back=False)), "boolean_for_number", "/steps/0/look_back", "reply"),
            (definition(until(at=True)), "time_not_text", "/steps/0/local/at", "morning"),
            (definition(until(at=9)), "time_not_text", "/steps/0/local/at", "morning"),
            (definition(until(at="09:00", days=[True])), "int_type", "/steps/0/local/days/0", "morning"),
            (definition(until(not_between=["20:00", True])), "time_not_text", "/steps/0/local/not_between/1", "morning"),
            (definition(send() | {"retry": {"attempts": True}}), "int_type", "/steps/0/retry/attempts", "intake"),
            (definition(send() | {"retry": {"attempts": "3"}}), "int_type", "/steps/0/retry/attempts", "intake"),
            (definition(send() | {"retry": {"factor": True}}), "float_type", "/steps/0/retry/factor", "intake"),
            (definition(send() | {"retry": {"first": True}}), "boolean_for_number", "/steps/0/retry/first", "intake"),
            (reminder("trigger", anchor() | {"offset": True}), "boolean_for_number", "/trigger/anchor/offset", None),
            (reminder("step", anchor() | {"at": False}), "time_not_text", "/steps/0/anchor/at", "before"),
            (reminder("trigger") | {"trigger": LEFT}, "boolean_for_number", "/trigger/past_due/left", None),
            (definition() | {"enrolment": {"policy": "once", "again_after": True}}, "boolean_for_number", "/enrolment/again_after", None),
            (
                definition(branch("b", wait(step="in") | {"duration": True})),
                "boolean_for_number",
                "/steps/0/cases/0/steps/0/duration",
                "in",
            ),
        ],
    )
    async def test_true_is_no_number_and_nine_is_no_time(
        self, client: httpx.AsyncClient, as_admin: Headers, written: Any, code: str, place: str, step: str | None
    ) -> None:
        await self.says(client, as_admin, written, (code, f"/definition{place}", step))

    async def test_104_a_delay_that_is_not_a_number_of_json(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        for number in ("NaN", "Infinity", "-Infinity", "1e400"):
            content = json.dumps({"name": "Bad", "definition": definition(wait("$"))}).replace('"$"', number)
            answer = await client.post("/v1/workflows", content=content, headers=as_admin | {"content-type": "application/json"})
            assert answer.status_code == 400, number

    async def test_a_wait_without_bound(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        forever = {"kind": "wait_for", "id": "answer", "events": [{"event": "vantage.scheduling.appointment-confirmed.v1"}]}
        (error,) = await self.says(
            client, as_admin, definition(forever), ("wait_without_bound", "/definition/steps/0/timeout", "answer")
        )  # fmt: skip
        assert error["hint"] == "timeout: a duration such as P2D"
        endless = {"kind": "wait", "id": "pause"}
        await self.says(client, as_admin, definition(endless), ("wait_without_bound", "/definition/steps/0/duration", "pause"))

    async def test_a_time_that_can_be_over_and_no_word_of_what_to_do_then(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        waiting = {"kind": "wait_until", "id": "day-before", "anchor": ANCHOR}
        (error,) = await self.says(
            client, as_admin, definition(waiting), ("missing_past_due", "/definition/steps/0/past_due", "day-before")
        )  # fmt: skip
        assert error["hint"] == "past_due: proceed, skip, or proceed_if_left"
        anchored = definition() | {"trigger": {"kind": "anchored", "anchor": ANCHOR}}
        await self.says(client, as_admin, anchored, ("missing_past_due", "/definition/trigger/past_due", None))

    async def test_a_schedule_in_a_zone_that_is_none(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        (error,) = await self.says(
            client, as_admin, scheduled(time_zone="Europe/Berln"), ("unknown_time_zone", "/definition/trigger/time_zone", None)
        )  # fmt: skip
        assert error["hint"] == "did you mean 'Europe/Berlin'?"
        for zone in ("Mars/Base", "../../etc/passwd", "/etc/localtime", "Europe", "\u202eEurope", ""):
            (error,) = await refused(client, as_admin, scheduled(time_zone=zone))
            assert error["pointer"] == "/definition/trigger/time_zone", zone

    @pytest.mark.parametrize(
        "cron",
        [
            "", "* * * *", "* * * * * *", "@reboot", "@every 1s", "61 * * * *", "0 25 * * *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "a b c d e",
            "*/0 * * * *", "5-1 * * * *", "0 9 * * mon-", "0 9 * * *; rm", "0 9\n* * *\n0", "-1 * * * *", "1e3 * * * *",
        ],
    )  # fmt: skip
    async def test_a_schedule_that_is_none_never_comes_or_comes_more_than_once_a_minute(
        self, client: httpx.AsyncClient, as_admin: Headers, cron: str
    ) -> None:
        (error,) = await refused(client, as_admin, scheduled(cron=cron))
        assert (error["pointer"], error["code"]) == ("/definition/trigger/cron", "invalid_cron")
        assert error["message"]

    async def test_a_schedule_longer_than_any(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        await self.says(client, as_admin, scheduled(cron="1," * 60 + "1 * * * *"), ("string_too_long", "/definition/trigger/cron", None))


class TestWords(Bad):
    @pytest.mark.parametrize(
        ("written", "pointer", "step", "hint"),
        [
            (definition(send() | {"whem": "true"}), "/steps/0/whem", "intake", "did you mean 'when'?"),
            (definition(wait() | {"duraton": "PT1H"}), "/steps/0/duraton", "pause", "did you mean 'duration'?"),
            (definition() | {"step": []}, "/step", None, "did you mean 'steps'?"),
            (definition() | {"trigger": {"event": "vantage.scheduling.appointment-booked.v1", "bulc": True}}, "/trigger/bulc", None, "did you mean 'bulk'?"),
            (definition(send() | {"retry": {"attemps": 3}}), "/steps/0/retry/attemps", "intake", "did you mean 'attempts'?"),
            (definition(branch("b", send("in") | {"acton": "x"})), "/steps/0/cases/0/steps/0/acton", "in", "did you mean 'action'?"),
        ],
    )  # fmt: skip
    async def test_a_field_nobody_knows_gets_the_one_that_may_be_meant(
        self, client: httpx.AsyncClient, as_admin: Headers, written: Any, pointer: str, step: str | None, hint: str
    ) -> None:
        (error,) = await self.says(client, as_admin, written, ("unknown_field", f"/definition{pointer}", step))
        assert error["hint"] == hint

    async def test_a_kind_nobody_knows_gets_the_one_that_may_be_meant(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        (error,) = await self.says(
            client, as_admin, definition(send() | {"kind": "acton"}), ("unknown_kind", "/definition/steps/0", "intake")
        )
        assert error["hint"] == "did you mean 'action'?"
        (error,) = await refused(client, as_admin, definition() | {"trigger": {"kind": "sundial"}})
        assert (error["pointer"], error["code"]) == ("/definition/trigger", "unknown_kind")

    @pytest.mark.parametrize(
        ("written", "pointer"),
        [
            (None, ""), ([], ""), ("x", ""), (3, ""), ({}, "/trigger"), (definition() | {"steps": {}}, "/steps"), (definition() | {"steps": [[]]}, "/steps/0"),
            (definition() | {"steps": [None]}, "/steps/0"), (definition() | {"trigger": []}, "/trigger"), (definition(send() | {"id": 7}), "/steps/0/id"),
            (definition(send() | {"parameters": []}), "/steps/0/parameters"), (definition(send() | {"kind": []}), "/steps/0"),
            (definition(branch("b") | {"cases": []}), "/steps/0/cases"), (definition() | {"exit": "x"}, "/exit"), (definition(condition=""), "/condition"),
            (definition() | {"enrolment": {"policy": "sometimes"}}, "/enrolment/policy"), (definition() | {"enrolment": {"policy": "by_key"}}, "/enrolment"),
        ],
    )  # fmt: skip
    async def test_what_is_of_another_type_is_named_where_it_stands(
        self, client: httpx.AsyncClient, as_admin: Headers, written: Any, pointer: str
    ) -> None:
        errors = await refused(client, as_admin, written)
        assert errors[0]["pointer"] == f"/definition{pointer}"

    async def test_everything_wrong_is_said_at_once(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        written = definition(wait("soon"), send("No"), send() | {"surprise": 1})
        assert len(await refused(client, as_admin, written)) == 3

    async def test_what_was_written_is_not_repeated(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        secret = "kim.lorenz@patients.example"
        for written in (
            definition(wait(secret)),
            definition(send(secret)),
            definition(send() | {"kind": secret}),
            definition(send(when=f"'{secret}'")),
        ):
            answer = await client.post("/v1/workflows", json={"name": "Bad", "definition": written}, headers=as_admin)
            assert answer.status_code == 422
            assert secret not in answer.text


class TestExpressionsAndTemplates(Bad):
    @pytest.mark.parametrize(
        "expression",
        [
            "(" * 900 + "1" + ")" * 900, "true || " * 130 + "true", "'" + "x" * 1000 + "' == event.title", "1 +",
            "patient.__class__ != null", "system('ls')", "nobody == 1", "event.title = 'x'", "event.title == 'x' // \x00", "1", "'text'", "event.starts_at",
            "event.titel == 'x'", "event.title > 3", "event\uff0etitle == 'x'", "has(event.title)", "   ",
        ],
    )  # fmt: skip
    async def test_a_hostile_or_mistaken_expression_is_named_with_its_step(
        self, client: httpx.AsyncClient, as_admin: Headers, expression: str
    ) -> None:
        answer = await client.post("/v1/workflows", json={"name": "Bad", "definition": definition(send(when=expression))}, headers=as_admin)
        assert answer.status_code in {400, 422}, answer.text
        if answer.status_code == 422 and answer.json()["code"] == "definition_refused":
            assert {(one["pointer"], one["step"]) for one in answer.json()["errors"]} == {("/definition/steps/0/when", "intake")}
        else:
            assert answer.json()["code"] == "text_invalid"

    async def test_an_unknown_field_of_an_event_comes_with_its_column_and_a_hint(
        self, client: httpx.AsyncClient, as_admin: Headers
    ) -> None:
        (error,) = await refused(client, as_admin, definition(send(when="true && patient.emial != null")))
        assert (error["code"], error["column"], error["hint"]) == ("invalid_expression", 17, "did you mean 'patient.email'?")

    @pytest.mark.parametrize(
        ("written", "pointer", "step", "column"),
        [
            (definition(wait_for(heard(CONFIRMED, "trigger.attendee.emial == patient.email"))), "/steps/0/events/0/when", "reply", 18),
            (definition() | {"exit": [heard(BOOKED, "event.title == trigger.attendee['emial']")]}, "/exit/0/when", None, 33),
        ],
    )
    async def test_an_unknown_field_of_what_started_the_run_comes_with_its_column_and_a_hint(
        self, client: httpx.AsyncClient, as_admin: Headers, written: Any, pointer: str, step: str | None, column: int
    ) -> None:
        (error,) = await self.says(client, as_admin, written, ("invalid_expression", f"/definition{pointer}", step))
        assert (error["column"], error["hint"]) == (column, "did you mean 'trigger.attendee.email'?")

    @pytest.mark.parametrize(
        "text", ["{{ ''.__class__ }}", "{{ 9**9**9 }}", "{{ nobody }}", "{{ unclosed", "{{ }}", "{{ [1] }}", "{{ {{ 1 }} }}"]
    )
    async def test_a_hostile_or_mistaken_template_is_named_with_its_step(
        self, client: httpx.AsyncClient, as_admin: Headers, text: str
    ) -> None:
        errors = await refused(client, as_admin, definition(send(text=text)))
        assert {(one["pointer"], one["step"]) for one in errors} == {("/definition/steps/0/parameters/text", "intake")}

    async def test_what_an_engine_does_not_come_to_an_end_with_is_refused_before_the_service_touches_it(
        self, client: httpx.AsyncClient, as_admin: Headers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(trial, "SECONDS", 0)
        await self.says(client, as_admin, definition(send()), ("takes_too_long", "/definition", None))

    async def test_other_peoples_template_languages_are_plain_text(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        body = {"name": "Good", "definition": definition(send(text="{% for a in b %}${x}<%= y %>{% include 'z' %}"))}
        assert (await client.post("/v1/workflows", json=body, headers=as_admin)).status_code == 201

    async def test_reading_of_a_step_what_it_never_leaves(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        told = send("two", text="{{ steps.one.decision }}")
        (error,) = await self.says(
            client, as_admin, definition(send("one"), told), ("unknown_output", "/definition/steps/1/parameters/text", "two")
        )
        assert error["column"] == 11
