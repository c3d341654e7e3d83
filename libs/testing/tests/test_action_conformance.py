"""The conformance suite sees what it is for: plug-ins that break one promise each are caught by the test of that promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, Field

from libs.common.actions import ActionPlugin, Effect, NotSent, OutcomeUnknown
from libs.common.logging import get_logger
from libs.common.work import Tx, Work
from libs.contracts.envelope import MESSAGES
from libs.testing.action_conformance import CANARY, ActionConformance, LeavingConformance, Outside, Scene
from libs.testing.stage import Stage

SERVICE = "patients"
log = get_logger()


class Word(BaseModel):
    word: str = Field(title="Word", description="Any word.")


class Dumb(BaseModel):
    word: str


async def keep(parameters: Word, effect: Effect, tx: Tx) -> Word:
    return Word(word="kept")


async def repeat(parameters: Word, effect: Effect, tx: Tx) -> Word:
    return parameters


async def gossip(parameters: Word, effect: Effect, tx: Tx) -> Word:
    viewed = MESSAGES["vantage.patients.patient-record-viewed.v1"]
    tx.emit(viewed.model_validate({"patient_id": uuid4(), "view": parameters.word}))
    return Word(word="kept")


async def chatter(parameters: Word, effect: Effect, tx: Tx) -> Word:
    log.info("word.taken", reason=parameters.word)
    return Word(word="kept")


class Line:
    """An other side that behaves as told and cannot tell repeats: every call is one more effect."""

    def __init__(self) -> None:
        self.behaviour = Outside.WELL
        self.effects = 0

    def behave(self, how: Outside) -> None:
        self.behaviour = how

    async def count(self) -> int:
        return self.effects

    async def call(self) -> None:
        if self.behaviour is Outside.NOT_NOW:
            raise NotSent
        self.effects += 1
        if self.behaviour is not Outside.WELL:
            raise ConnectionResetError

    async def honest(self, parameters: Word, effect: Effect, work: Work) -> Word:
        try:
            await self.call()
        except ConnectionResetError:
            raise OutcomeUnknown from None
        return Word(word="kept")

    async def hasty(self, parameters: Word, effect: Effect, work: Work) -> Word:
        try:
            await self.call()
        except ConnectionResetError:
            raise NotSent from None
        return Word(word="kept")


def plugin(handler: Callable[..., Any], **fields: Any) -> ActionPlugin:
    return replace(ActionPlugin("keep_word", SERVICE, "Keep a word", "Keeps a word.", Word, Word, handler), **fields)


def suite(kind: type[ActionConformance], subject: ActionPlugin) -> Any:
    return type("Suite", (kind,), {"plugin": subject, "seconds": None, "__test__": False})()


@pytest.fixture
def service_name() -> str:
    return SERVICE


async def nothing() -> int:
    return 0


SCENE = Scene({"word": CANARY}, [{}, {"word": 5}], nothing)


class TestDescriptions:
    def test_good_ones_pass(self) -> None:
        suite(ActionConformance, plugin(keep)).test_describes_its_fields_for_an_editor("parameters")
        suite(ActionConformance, plugin(keep)).test_describes_itself()

    @pytest.mark.parametrize("which", ["parameters", "result"])
    def test_fields_without_words_are_caught(self, which: str) -> None:
        with pytest.raises(AssertionError, match="word"):
            suite(ActionConformance, plugin(keep, **{which: Dumb})).test_describes_its_fields_for_an_editor(which)

    @pytest.mark.parametrize("fields", [{"help": ""}, {"title": ""}, {"name": "Keep Word"}, {"owner": "nobody"}])
    def test_missing_words_are_caught(self, fields: dict[str, str]) -> None:
        with pytest.raises(AssertionError):
            suite(ActionConformance, plugin(keep, **fields)).test_describes_itself()


class TestPersonalData:
    logs = ActionConformance.logs

    @pytest.mark.parametrize(
        ("handler", "caught"),
        [(keep, None), (repeat, "event"), (gossip, "event"), (chatter, "log")],
        ids=["keep", "repeat", "gossip", "chatter"],
    )
    async def test_that_gets_out_is_caught(
        self, handler: Callable[..., Any], caught: str | None, work: Work, practice: UUID, logs: Callable[[], str]
    ) -> None:
        subject = plugin(handler)
        async with Stage(work, subject, practice) as stage:
            checked = suite(ActionConformance, subject).test_repeats_no_parameter_where_nothing_personal_may_be(stage, SCENE, logs)
            if caught is None:
                await checked
                return
            with pytest.raises(AssertionError, match=caught):
                await checked


class TestLostAnswers:
    @pytest.mark.parametrize("how", [Outside.TAKES_AND_SAYS_NOTHING, Outside.TAKES_AND_HANGS_UP])
    async def test_that_are_owned_up_to_pass(self, how: Outside, work: Work, practice: UUID) -> None:
        line = Line()
        await self.check(line, line.honest, how, work, practice)

    async def test_that_are_taken_for_a_no_are_caught(self, work: Work, practice: UUID) -> None:
        line = Line()
        with pytest.raises(AssertionError):
            await self.check(line, line.hasty, Outside.TAKES_AND_HANGS_UP, work, practice)

    async def test_of_what_cannot_be_repeated_although_it_says_so_are_caught(self, work: Work, practice: UUID) -> None:
        line = Line()
        with pytest.raises(AssertionError):
            await self.check(line, line.honest, Outside.TAKES_AND_HANGS_UP, work, practice, idempotent=True)

    async def check(self, line: Line, handler: Callable[..., Any], how: Outside, work: Work, practice: UUID, **fields: Any) -> None:
        subject = plugin(handler, **fields)
        scene = replace(SCENE, effects=line.count, outside=line.behave)
        async with Stage(work, subject, practice) as stage:
            checks = suite(LeavingConformance, subject)
            await checks.test_a_lost_answer_makes_no_second_effect(how, stage, scene, line.behave)
