"""Workflows as files, and the schema of what stands in them: what goes out comes in again, and nothing else comes with it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import httpx
import jsonschema
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from libs.common.work import Work
from services.workflows.rules.definitions.analysis import secrets
from services.workflows.rules.definitions.definition import Definition
from services.workflows.rules.definitions.exchange import exported, parts_of
from services.workflows.rules.definitions.reading import read_definition
from services.workflows.rules.definitions.schema import DIALECT, ID, definition_schema
from services.workflows.rules.definitions.yaml_text import MAX_CHARACTERS, MAX_DEPTH, YamlRefused, read_yaml, write_yaml
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import definition, send, wait
from services.workflows.tests.test_api import Headers, body, saved

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)
SPECIAL = st.sampled_from(
    [
        "no",
        "on",
        "~",
        "null",
        "true",
        "18:00",
        "1e3",
        "0x1F",
        "1_000",
        "2030-01-31",
        "- a",
        "a: b",
        "#x",
        "'",
        "|",
        "\u2028",
        "\x85",
        ".inf",
    ]
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT | SPECIAL
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | SPECIAL, inner, max_size=4), max_leaves=20
)


def act(**parameters: Any) -> dict[str, Any]:
    return {"kind": "action", "id": "call", "action": "http_request", "parameters": parameters}


@pytest.fixture
async def engine(work: Work, practice: UUID) -> BuiltinDriver:
    driver = BuiltinDriver(work.engine, practice)
    await driver.learn_catalogue()
    return driver


async def imported(client: httpx.AsyncClient, headers: Headers, text: str) -> httpx.Response:
    return await client.post("/v1/workflows/import", json={"yaml": text}, headers=headers)


class TestTheSchema:
    async def test_is_published_with_its_dialect_and_its_id(self, client: httpx.AsyncClient, as_user: Headers) -> None:
        answer = await client.get("/v1/workflows/schema", headers=as_user)
        assert answer.headers["content-type"] == "application/schema+json"
        assert answer.json() == definition_schema()
        assert (answer.json()["$schema"], answer.json()["$id"]) == (DIALECT, ID)

    def test_is_a_schema_and_takes_what_we_take(self) -> None:
        jsonschema.Draft202012Validator.check_schema(definition_schema())
        validator = jsonschema.Draft202012Validator(definition_schema())
        anchor = {"of": "appointment.starts_at", "offset": "-P1D", "at": "18:00:00"}
        branch = {"kind": "branch", "id": "b", "cases": [{"when": "true", "steps": [wait()]}]}
        good = definition(send(), branch) | {"trigger": {"kind": "anchored", "anchor": anchor, "past_due": {"policy": "skip"}}}
        for written in (good, definition(), read_definition(good).model_dump(mode="json", exclude_none=True)):
            assert list(validator.iter_errors(written)) == []
        for bad in ({}, definition(wait() | {"next": "x"}), definition(send() | {"kind": "goto"}), definition() | {"steps": []}):
            assert list(validator.iter_errors(bad)) != []


class TestReadingYaml:
    @given(VALUES)
    def test_what_is_written_is_read_as_it_was(self, value: Any) -> None:
        assert read_yaml(write_yaml(value)) == value

    @given(st.text(max_size=200))
    def test_whatever_text_it_is_it_is_read_or_refused(self, text: str) -> None:
        with suppress(YamlRefused):
            json.dumps(read_yaml(text), allow_nan=False).encode()

    def test_words_mean_what_they_say(self) -> None:
        read = read_yaml("{at: 18:00, day: 2030-01-31, no: off, seven: 0o7, half: 0.5, one: 1, nothing: null, x: =, y: <<}")
        assert read == {
            "at": "18:00", "day": "2030-01-31", "no": "off", "seven": "0o7", "half": 0.5, "one": 1, "nothing": None, "x": "=", "y": "<<",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("text", "because"),
        [
            ("a: &x 1", "anchors and aliases"), ("a: *x", "anchors and aliases"), ("a: &x [*x]", "anchors and aliases"),
            ("a: !!python/object/apply:os.system ['ls']", "tags"), ("!!python/name:os.system", "tags"), ("a: !!binary aGk=", "tags"),
            ("a: 1\na: 2", "twice"), ("{a: 1, 'a': 2}", "twice"), ("? [1]\n: 2", "key is a text"), ("1: 2", "key is a text"), ("null: 2", "key is a text"),
            ("--- a\n--- b", "one document"), ("a: [", "not YAML"), ("\tb", "not YAML"), ("a: 'x", "not YAML"), ("a\x07", "not YAML"),
            ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "too deeply"), ("[" * 100_000, "too deeply"), ("- a\n" * 10_001, "too many parts"),
            ("x" * (MAX_CHARACTERS + 1), "characters"), ('a: "\\0"', "NUL"), ("a: 99999999999999999", "too large"), ("a: 1.0e999", "too large"),
        ],
    )  # fmt: skip
    def test_what_is_dangerous_or_says_two_things_is_refused(self, text: str, because: str) -> None:
        with pytest.raises(YamlRefused, match=because):
            read_yaml(text)

    def test_a_bomb_of_aliases_is_not_blown_up(self) -> None:
        bomb = "a: &a [x,x]\n" + "".join(
            f"{name}: &{name} [*{before},*{before}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
        )
        with pytest.raises(YamlRefused, match="anchors and aliases"):
            read_yaml(bomb)


class TestRoundTrip:
    @given(st.dictionaries(TEXT, VALUES, max_size=3), TEXT.filter(str.strip))
    def test_a_definition_comes_in_as_it_went_out(self, parameters: dict[str, Any], name: str) -> None:
        written = read_definition(definition(act(body=parameters), wait(), condition="event.title != 'a: b'"))
        assume(not [*secrets(written)])  # those stay here
        assert parts_of(exported(name, written)) == (name, written.model_dump(mode="json", exclude_none=True))

    async def test_a_file_becomes_the_same_workflow(
        self, client: httpx.AsyncClient, engine: BuiltinDriver, as_admin: Headers, as_user: Headers
    ) -> None:
        workflow = await saved(
            client, as_admin, **body(send(text="Dear {{ patient.given_name }},\n\n  see you: soon"), wait(), name="Ümläut: yes")
        )
        answer = await client.get(f"/v1/workflows/{workflow['id']}/export", headers=as_user)
        assert (answer.headers["content-type"], answer.headers["etag"]) == ("application/yaml", '"1"')
        assert workflow["id"] in answer.headers["content-disposition"]
        made = await imported(client, as_admin, answer.text)
        assert made.status_code == 201, made.text
        assert (made.json()["name"], made.json()["definition"], made.json()["version"]) == (workflow["name"], workflow["definition"], 1)
        assert made.json()["id"] != workflow["id"]


class TestImport:
    def file(self, written: Any, name: str = "From elsewhere") -> str:
        return write_yaml({"format": "vantage.workflow/1", "name": name, "definition": written})

    async def test_107_ids_of_another_practice_are_refused_where_they_stand(
        self, client: httpx.AsyncClient, as_admin: Headers, as_stranger: Headers
    ) -> None:
        theirs = (await saved(client, as_stranger))["id"]
        start = {"kind": "action", "id": "start", "action": "start_workflow", "parameters": {"workflow_id": theirs}}
        for written, pointer, step in (
            (definition(start), "/definition/steps/0/parameters/workflow_id", "start"),
            (definition(start | {"parameters": {"x": [{"y": f"see {theirs}"}]}}), "/definition/steps/0/parameters/x/0/y", "start"),
            (definition(send(when=f"patient.id == '{uuid4()}'")), "/definition/steps/0/when", "intake"),
            (definition(condition=f"patient.id != '{theirs.upper()}'"), "/definition/condition", None),
        ):
            answer = await imported(client, as_admin, self.file(written))
            assert (answer.status_code, answer.json()["code"]) == (422, "definition_refused")
            assert [(one["code"], one["pointer"], one.get("step")) for one in answer.json()["errors"]] == [("foreign_id", pointer, step)]
            assert theirs not in answer.text
        mine = (await saved(client, as_admin))["id"]
        assert (await imported(client, as_admin, self.file(definition(start | {"parameters": {"workflow_id": mine}})))).status_code == 201

    async def test_107_secrets_are_never_exported(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        call = act(
            url="https://a.example",
            headers={"Authorization": "Bearer hush", "Accept": "text/plain"},
            pairs=[{"name": "X-Api-Key", "value": "hush"}],
        )
        workflow = await saved(client, as_admin, **body(call))
        text = (await client.get(f"/v1/workflows/{workflow['id']}/export", headers=as_admin)).text
        assert "hush" not in text
        written = read_yaml(text)
        assert sorted(written["omitted"]) == ["/steps/0/parameters/headers/Authorization", "/steps/0/parameters/pairs/0/value"]
        assert written["definition"]["steps"][0]["parameters"]["headers"] == {"Accept": "text/plain"}
        assert (await imported(client, as_admin, text)).status_code == 201

    async def test_what_saving_refuses_importing_refuses_in_the_same_words(self, client: httpx.AsyncClient, as_admin: Headers) -> None:
        faulty: tuple[Any, ...] = (
            definition(wait("soon")),
            definition(send(when="nobody")),
            definition(send() | {"whem": "x"}),
            {},
            definition(send(), send()),
        )
        for written in faulty:
            by_file = await imported(client, as_admin, self.file(written))
            by_hand = await client.post("/v1/workflows", json={"name": "x", "definition": written}, headers=as_admin)
            assert by_file.status_code == by_hand.status_code == 422
            assert by_file.json()["errors"] == by_hand.json()["errors"]

    @pytest.mark.parametrize(
        ("text", "code", "pointer"),
        [
            ("a: [", "not_yaml", "/yaml"), ("a: &x 1", "not_yaml", "/yaml"), ("just text", "not_a_workflow", "/yaml"), ("format: other", "not_a_workflow", "/yaml"),
            ("format: vantage.workflow/1", "missing_field", "/name"), ("{format: vantage.workflow/1, name: x, definition: {}, practice_id: y}", "unknown_field", "/practice_id"),
            ("{format: vantage.workflow/1, name: 7, definition: {}}", "invalid_name", "/name"), ('{format: vantage.workflow/1, name: "a\\nb", definition: {}}', "invalid_name", "/name"),
            ("{format: vantage.workflow/1, name: x, definition: {}}", "missing_field", "/definition/trigger"),
        ],
    )  # fmt: skip
    async def test_what_is_no_file_of_a_workflow_is_refused(
        self, client: httpx.AsyncClient, as_admin: Headers, text: str, code: str, pointer: str
    ) -> None:
        answer = await imported(client, as_admin, text)
        assert answer.status_code == 422, answer.text
        assert (answer.json()["errors"][0]["code"], answer.json()["errors"][0]["pointer"]) == (code, pointer)
        assert (await client.get("/v1/workflows", headers=as_admin)).json()["items"] == []

    async def test_users_take_files_out_and_bring_none_in(
        self, client: httpx.AsyncClient, as_admin: Headers, as_user: Headers, as_stranger: Headers
    ) -> None:
        workflow = await saved(client, as_admin)
        assert (await imported(client, as_user, self.file(definition()))).status_code == 403
        assert (await client.get(f"/v1/workflows/{workflow['id']}/export", headers=as_user)).status_code == 200
        assert (await client.get(f"/v1/workflows/{workflow['id']}/export", headers=as_stranger)).status_code == 404


def test_a_stored_definition_is_one_that_can_be_exported() -> None:
    assert Definition.model_validate(parts_of(exported("x", read_definition(definition())))[1]) == read_definition(definition())
