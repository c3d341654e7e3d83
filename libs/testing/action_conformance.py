"""What every action plug-in keeps, as a suite its author runs: inherit, name the plug-in, set a scene.

::

    class TestSendSms(LeavingConformance):
        plugin = SEND_SMS

        @pytest.fixture
        async def scene(self, gateway):
            return Scene(parameters={"text": CANARY}, invalid=({}, {"text": 5}), effects=gateway.count, outside=gateway.behave)

``ActionConformance`` is for every plug-in; ``LeavingConformance`` adds what one that leaves the house owes besides.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

import jsonschema
import pytest

from libs.common.actions import ActionPlugin
from libs.common.actions.outcomes import RETRY_LIMIT
from libs.common.logging import start_logging
from libs.common.work import Work
from libs.contracts.actions import ActionResult, Outcome
from libs.contracts.marks import without_personal
from libs.contracts.topics import SERVICES
from libs.testing.stage import Stage

CANARY = "canary-5c1f"
"""Put this into every free text of the parameters: it must not turn up where nothing personal may."""


class Outside(StrEnum):
    """How the other side behaves from now on."""

    WELL = "well"
    REFUSES = "refuses"
    NOT_NOW = "not now"
    TAKES_AND_SAYS_NOTHING = "takes it and says nothing"
    TAKES_AND_HANGS_UP = "takes it and hangs up"


@dataclass
class Scene:
    """What the suite needs to know about a plug-in.

    ``parameters`` are valid, with ``CANARY`` in every free text; ``invalid`` are not. ``effects`` counts what the world has
    seen, by effect key where the other side can tell repeats. ``outside`` makes the other side behave. ``before``: types of events that setting the scene itself said.
    """

    parameters: dict[str, Any]
    invalid: Sequence[dict[str, Any]]
    effects: Callable[[], Awaitable[int]]
    patient_id: UUID | None = None
    tools: dict[str, Any] = field(default_factory=dict)
    outside: Callable[[Outside], object] | None = None
    before: frozenset[str] = frozenset()


class ActionConformance:
    """What every action owes."""

    plugin: ClassVar[ActionPlugin]
    seconds: ClassVar[float | None] = None
    """Replaces the plug-in's time-out where no answer comes, so that nobody waits for it."""

    @pytest.fixture
    def service_name(self) -> str:
        return self.plugin.owner

    @pytest.fixture
    async def stage(self, work: Work, practice: UUID, scene: Scene, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
        # Nowhere else: a busy machine would be taken for a lost answer.
        given = request.node.callspec.params if hasattr(request.node, "callspec") else {}
        seconds = self.seconds if given.get("how") is Outside.TAKES_AND_SAYS_NOTHING else None
        async with Stage(work, self.plugin, practice, scene.tools, seconds=seconds) as stage:
            yield stage

    @pytest.fixture
    def logs(self) -> Iterator[Callable[[], str]]:
        """Everything this test logs, down to the details."""
        written = io.StringIO()
        with contextlib.redirect_stdout(written):
            start_logging("test", "debug")
        yield written.getvalue
        with contextlib.redirect_stdout(sys.__stdout__):
            start_logging("test", "critical")

    @pytest.mark.parametrize("which", ["parameters", "result"])
    def test_describes_its_fields_for_an_editor(self, which: str) -> None:
        schema = self.plugin.parameters.model_json_schema() if which == "parameters" else self.plugin.result.model_json_schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        dumb = [name for name, value in schema.get("properties", {}).items() if not (value.get("title") and value.get("description"))]
        assert dumb == [], f"fields without title and description: {dumb}"

    def test_describes_itself(self) -> None:
        description = self.plugin.description()
        assert type(description).read(description.model_dump_json()) == description
        assert description.owner_service in SERVICES
        assert description.name.isidentifier()
        assert description.name == description.name.lower()
        assert description.title
        assert description.help.endswith(".")

    def test_takes_its_own_example(self, scene: Scene) -> None:
        jsonschema.validate(json.loads(json.dumps(scene.parameters)), self.plugin.parameters.model_json_schema())
        self.plugin.parameters.model_validate(scene.parameters)

    async def test_happens_once_for_one_effect_key_and_is_answered_once(self, stage: Stage, scene: Scene) -> None:
        request = stage.asking(scene.parameters, scene.patient_id)
        await stage.ask(request, request)
        await stage.ask(request)
        await stage.later()
        assert [(o.effect_key, o.outcome, o.error) for o in await stage.outcomes()] == [(request.effect_key, Outcome.SUCCEEDED, None)]
        assert await scene.effects() == 1

    async def test_fails_without_a_patient_where_it_says_that_it_needs_one(self, stage: Stage, scene: Scene) -> None:
        if not self.plugin.needs_person:
            return
        await stage.ask(stage.asking(scene.parameters, None))
        await stage.later()
        assert [one.outcome for one in await stage.outcomes()] == [Outcome.FAILED]
        assert await scene.effects() == 0

    async def test_answers_each_effect_key_for_itself(self, stage: Stage, scene: Scene) -> None:
        requests = [stage.asking(scene.parameters, scene.patient_id) for _ in range(2)]
        await stage.ask(*requests)
        assert {o.effect_key for o in await stage.outcomes()} == {request.effect_key for request in requests}

    async def test_results_in_what_it_declares(self, stage: Stage, scene: Scene) -> None:
        await stage.ask(stage.asking(scene.parameters, scene.patient_id))
        (finished,) = await stage.outcomes()
        self.plugin.result.model_validate(finished.result)
        jsonschema.validate(finished.result, self.plugin.result.model_json_schema())

    async def test_causes_only_the_events_it_declares(self, stage: Stage, scene: Scene) -> None:
        await stage.ask(stage.asking(scene.parameters, scene.patient_id))
        caused = {message.type for message in await stage.said() if not isinstance(message, ActionResult)} - scene.before
        assert caused <= set(self.plugin.causes)

    async def test_refuses_wrong_parameters_at_once_and_does_nothing(self, stage: Stage, scene: Scene) -> None:
        for parameters in scene.invalid:
            await stage.ask(stage.asking(parameters, scene.patient_id))
        outcomes = [(o.outcome, o.error.code if o.error else None, o.error.retryable if o.error else None) for o in await stage.outcomes()]
        assert outcomes == [(Outcome.FAILED, "parameters_invalid", False)] * len(scene.invalid)
        assert await scene.effects() == 0

    async def test_repeats_no_parameter_where_nothing_personal_may_be(self, stage: Stage, scene: Scene, logs: Callable[[], str]) -> None:
        await stage.ask(stage.asking(scene.parameters, scene.patient_id))
        for wrong in scene.invalid:
            await stage.ask(stage.asking({**wrong, CANARY: CANARY}, scene.patient_id))
        await assert_silent(stage, logs)

    async def test_keeps_no_parameters_when_it_has_ended(self, stage: Stage, scene: Scene) -> None:
        await stage.ask(stage.asking(scene.parameters, scene.patient_id))
        assert [request for _, _, request in await stage.effects()] == [None]


class LeavingConformance(ActionConformance):
    """What an action that leaves the house owes besides."""

    seconds: ClassVar[float | None] = 0.3

    @pytest.fixture
    def behave(self, scene: Scene) -> Callable[[Outside], object]:
        assert scene.outside is not None, "an action that leaves the house needs scene.outside"
        return scene.outside

    def may_repeat(self, scene: Scene) -> bool:
        return self.plugin.may_repeat(self.plugin.parameters.model_validate(scene.parameters))

    async def test_a_refusal_is_final(self, stage: Stage, scene: Scene, behave: Callable[[Outside], object]) -> None:
        behave(Outside.REFUSES)
        await stage.ask(stage.asking(scene.parameters, scene.patient_id))
        behave(Outside.WELL)
        await stage.later()
        (finished,) = await stage.outcomes()
        assert finished.error is not None
        assert (finished.outcome, finished.error.retryable, await scene.effects()) == (Outcome.FAILED, False, 0)

    async def test_is_tried_again_when_it_was_only_not_now(self, stage: Stage, scene: Scene, behave: Callable[[Outside], object]) -> None:
        behave(Outside.NOT_NOW)
        await stage.ask(stage.asking(scene.parameters, scene.patient_id))
        assert (await stage.outcomes(), [state for state, _, _ in await stage.effects()]) == ([], ["planned"])
        behave(Outside.WELL)
        await stage.later()
        assert ([o.outcome for o in await stage.outcomes()], await scene.effects()) == ([Outcome.SUCCEEDED], 1)

    async def test_is_given_up_as_something_that_may_pass(self, stage: Stage, scene: Scene, behave: Callable[[Outside], object]) -> None:
        behave(Outside.NOT_NOW)
        await stage.ask(stage.asking(scene.parameters, scene.patient_id))
        for _ in range(RETRY_LIMIT + 1):
            await stage.later()
        (finished,) = await stage.outcomes()
        assert finished.error is not None
        assert (finished.outcome, finished.error.retryable) == (Outcome.FAILED, True)
        assert [attempts for _, attempts, _ in await stage.effects()] == [RETRY_LIMIT]

    @pytest.mark.parametrize("how", [Outside.TAKES_AND_SAYS_NOTHING, Outside.TAKES_AND_HANGS_UP])
    async def test_a_lost_answer_makes_no_second_effect(
        self, how: Outside, stage: Stage, scene: Scene, behave: Callable[[Outside], object]
    ) -> None:
        behave(how)
        await stage.ask(stage.asking(scene.parameters, scene.patient_id))
        said = [o.outcome for o in await stage.outcomes()]
        assert said == ([] if self.may_repeat(scene) else [Outcome.UNKNOWN])
        behave(Outside.WELL)
        for _ in range(2):
            await stage.later()
        assert await scene.effects() == 1
        known = self.may_repeat(scene) or self.plugin.lookup is not None
        assert [o.outcome for o in await stage.outcomes()][len(said) :] == ([Outcome.SUCCEEDED] if known else [])

    async def test_one_that_may_be_repeated_and_may_have_happened_is_given_up_as_unknown(
        self, stage: Stage, scene: Scene, behave: Callable[[Outside], object]
    ) -> None:
        """Failed it would be tried again under another key, by which nobody could tell the repeat."""
        if not self.may_repeat(scene):
            return
        behave(Outside.TAKES_AND_HANGS_UP)
        await stage.ask(stage.asking(scene.parameters, scene.patient_id))
        behave(Outside.NOT_NOW)
        for _ in range(RETRY_LIMIT + 1):
            await stage.later()
        assert [finished.outcome for finished in await stage.outcomes()] == [Outcome.UNKNOWN]

    async def test_a_process_that_dies_after_the_mark_makes_no_second_effect(self, stage: Stage, scene: Scene) -> None:
        await stage.die_after_the_mark(stage.asking(scene.parameters, scene.patient_id))
        for _ in range(3):
            await stage.later()
        known = self.may_repeat(scene) or self.plugin.lookup is not None
        assert await scene.effects() == (1 if known else 0)
        assert (await stage.outcomes())[-1].outcome is (Outcome.SUCCEEDED if known else Outcome.UNKNOWN)

    async def test_an_unknown_outcome_says_nothing_personal_either(
        self, stage: Stage, scene: Scene, behave: Callable[[Outside], object], logs: Callable[[], str]
    ) -> None:
        for how in (Outside.TAKES_AND_HANGS_UP, Outside.REFUSES, Outside.NOT_NOW):
            behave(how)
            await stage.ask(stage.asking(scene.parameters, scene.patient_id))
        await assert_silent(stage, logs)


async def assert_silent(stage: Stage, logs: Callable[[], str]) -> None:
    told = [json.dumps(without_personal(message)) for message in await stage.said()]
    assert [text for text in told if CANARY in text] == [], "an event repeats a parameter in a field that is not marked personal"
    assert CANARY not in logs(), "a log line repeats a parameter"
