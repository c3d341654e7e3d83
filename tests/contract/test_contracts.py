"""Contracts are exemplified, documented and in use: no type without an example, a sender and its place in the documents."""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from libs.common.access import follow_access
from libs.common.messaging import Consumer
from libs.contracts.access import DENIED, AccessDenied
from libs.contracts.actions import ActionResult
from libs.contracts.envelope import Description, Message, read_envelope, schema_uri
from libs.contracts.registry import MESSAGES
from libs.contracts.topics import SERVICES, TOPICS, topic_of, topics_read_by
from tools.generate.__main__ import derived, differences, write
from tools.generate.schemas import schema_of
from tools.lints.source import sources

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "libs" / "contracts" / "examples"
TYPES = sorted(MESSAGES)


def example(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXAMPLES / f"{name}.json").read_text())
    return found


class TestExamples:
    def test_every_type_has_one_and_there_are_no_others(self) -> None:
        assert sorted(path.name.removesuffix(".json") for path in EXAMPLES.iterdir()) == TYPES

    @pytest.mark.parametrize("name", TYPES)
    def test_the_value_is_what_the_sender_would_produce(self, name: str) -> None:
        strict = MESSAGES[name].model_validate_json(json.dumps(example(name)["value"]))
        assert set(json.loads(strict.model_dump_json())) == set(example(name)["value"])

    @pytest.mark.parametrize("name", TYPES)
    def test_the_value_satisfies_the_published_schema(self, name: str) -> None:
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        jsonschema.Draft202012Validator(schema_of(MESSAGES[name]), format_checker=checker).validate(example(name)["value"])

    @pytest.mark.parametrize("name", TYPES)
    def test_the_headers_make_our_envelope(self, name: str) -> None:
        found = example(name)
        envelope = read_envelope(found["headers"])
        message = MESSAGES[name].model_validate_json(json.dumps(found["value"]))
        assert (envelope.type, envelope.subject) == (name, message.subject)
        assert found["headers"]["ce_dataschema"] == schema_uri(name)
        assert found["key"] == (message.key if isinstance(message, Description) else str(envelope.practice_id))
        assert envelope.source.removeprefix("/vantage/") in topic_of(MESSAGES[name]).writers

    @pytest.mark.parametrize("name", TYPES)
    def test_a_reader_accepts_it_with_a_field_from_the_future(self, name: str) -> None:
        MESSAGES[name].read(json.dumps({**example(name)["value"], "added_later": 1}))
        jsonschema.Draft202012Validator(schema_of(MESSAGES[name])).validate({**example(name)["value"], "added_later": 1})


class TestSchemas:
    @pytest.mark.parametrize("name", TYPES)
    def test_it_is_a_schema_and_says_what_the_message_means(self, name: str) -> None:
        schema = schema_of(MESSAGES[name])
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["description"]

    def test_names_and_contact_details_are_marked_as_personal(self) -> None:
        telling = {"details", "attendee", "email", "phone", "email_subject", "parameters", "reason"}
        unmarked = [
            f"{name}: {field}"
            for name in TYPES
            for field, schema in schema_of(MESSAGES[name])["properties"].items()
            if field in telling and not schema.get("x-personal")
        ]
        assert unmarked == []


class TestGenerated:
    def test_a_hand_in_a_generated_file_is_noticed_and_undone(self, tmp_path: Path) -> None:
        write(tmp_path)
        assert differences(tmp_path) == []
        page = tmp_path / "docs" / "events.md"
        page.write_text(page.read_text() + "one more line\n")
        leftover = tmp_path / "libs" / "contracts" / "schemas" / "vantage.gone.thing-done.v1.json"
        leftover.write_text("{}")
        assert differences(tmp_path) == [
            "docs/events.md: differs from what is derived",
            "libs/contracts/schemas/vantage.gone.thing-done.v1.json: is derived from nothing",
        ]
        write(tmp_path)
        assert differences(tmp_path) == []

    def test_the_asyncapi_document_refers_only_to_what_is_there(self) -> None:
        document = yaml.safe_load(derived()[ROOT / "libs/contracts/asyncapi.yaml"])
        dangling = [ref for ref in _references(document) if not _resolves(ref, document)]
        assert dangling == []
        assert set(document["channels"]) == {topic.name for topic in TOPICS}
        assert set(document["components"]["messages"]) == set(TYPES)

    def test_every_type_stands_on_the_events_page(self) -> None:
        page = derived()[ROOT / "docs/events.md"]
        assert [name for name in TYPES if f"### {name}\n" not in page] == []

    @pytest.mark.parametrize("service", SERVICES)
    def test_every_setting_of_a_service_stands_in_its_environment_example(self, service: str) -> None:
        settings = importlib.import_module(f"services.{service}.settings").Settings
        text = derived()[ROOT / f"deploy/env/{service}.env.example"]
        assert [name for name in settings.model_fields if f"VANTAGE_{name.upper()}=" not in text] == []


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in _references(value)]
    return [ref for item in node for ref in _references(item)] if isinstance(node, list) else []


def _resolves(ref: str, document: Any) -> bool:
    if not ref.startswith("#/"):
        return (ROOT / "libs" / "contracts" / ref).exists()
    for part in ref.removeprefix("#/").split("/"):
        if part not in document:
            return False
        document = document[part]
    return True


@cache
def subscriptions(service: str) -> frozenset[str]:
    """The message types a service has a handler for; everything for one that takes everything."""
    if not (ROOT / "services" / service / "consumers.py").exists() and not (ROOT / "services" / service / "consumers").exists():
        return frozenset()
    subscribe: Callable[..., None] = importlib.import_module(f"services.{service}.consumers").subscribe
    consumer = Consumer(service)
    subscribe(consumer, *([_Anything()] * (subscribe.__code__.co_argcount - 1)))
    if not consumer.takes_everything:
        follow_access(consumer)  # as Service.consumes does
    return frozenset(name for name in TYPES if consumer.handler_of(name) is not None)


class _Anything:
    """Stands in for what a service hands to its handlers; none is called here."""

    def __getattr__(self, name: str) -> Any:
        return self


@cache
def constructed(service: str) -> frozenset[str]:
    """Names of the contract classes that a service makes instances of, outside its tests."""
    calls = (
        node.func
        for source in sources(ROOT / "services" / service)
        if not source.is_test
        for node in source.nodes
        if isinstance(node, ast.Call)
    )
    return frozenset(func.id if isinstance(func, ast.Name) else func.attr for func in calls if isinstance(func, (ast.Name, ast.Attribute)))


@cache
def performed(service: str) -> frozenset[str]:
    """Names that a service's app hands to ``Service.performs``."""
    return frozenset(
        argument.id
        for source in sources(ROOT / "services" / service)
        if source.parts == ("app.py",)
        for node in source.nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "performs"
        for argument in node.args
        if isinstance(argument, ast.Name)
    )


class TestSwitchboard:
    @pytest.mark.parametrize("name", TYPES)
    def test_every_event_is_said_by_its_owner_and_every_command_by_a_writer(self, name: str) -> None:
        message: type[Message] = MESSAGES[name]
        if message.kind == "description":
            return  # said by libs.common.actions for whoever has plug-ins
        if issubclass(message, AccessDenied):
            assert DENIED[message.owner] is message  # said by the door of whichever service refuses
            return
        if issubclass(message, ActionResult):
            assert message.__name__ in performed(message.owner)  # said by libs.common.actions for whoever has plug-ins
            return
        writers = topic_of(message).writers
        said_by = [service for service in writers if message.__name__ in constructed(service) or _by_table(service, message)]
        assert said_by, f"{message.__name__} is never constructed in {', '.join(writers)}"

    @pytest.mark.parametrize("service", SERVICES)
    def test_a_service_handles_only_what_its_topics_bring_and_something_of_each(self, service: str) -> None:
        topics = {topic.name for topic in topics_read_by(service)}
        handled = {topic_of(MESSAGES[name]).name for name in subscriptions(service)}
        used = {topic for topic in topics if any(topic_of(MESSAGES[name]).name == topic for name in TYPES)}
        assert handled == used

    @pytest.mark.parametrize("name", [name for name in TYPES if MESSAGES[name].kind == "command"])
    def test_every_command_is_handled_by_its_owner(self, name: str) -> None:
        assert name in subscriptions(MESSAGES[name].owner)

    def test_the_ledger_hears_everything(self) -> None:
        assert subscriptions("audit") == set(TYPES)


def _by_table(service: str, message: type[Message]) -> bool:
    """A class counts as said when a command names it in a value, or its type by the end: it is called through that."""
    ending = message.type.removeprefix(f"vantage.{message.owner}")
    return any(
        (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id == message.__name__)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(ending))
        for source in sources(ROOT / "services" / service)
        if not source.is_test and source.parts[0] in {"commands", "commands.py"}
        for node in source.nodes
    )
