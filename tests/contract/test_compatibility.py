"""A breaking change of a published message type is refused, whichever way it breaks; an addition is not."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.compatibility import FOLDER, base_revision, breaks, committed, current, main

Schema = dict[str, Any]
_GROUPS: Schema = {"oneOf": [{"$ref": "#/$defs/Every"}, {"$ref": "#/$defs/Some"}]}
OLD: Schema = {
    "x-topic": "vantage.patients.events",
    "x-subject": "patient/{patient_id}",
    "x-kind": "event",
    "$defs": {
        "Status": {"enum": ["new", "known"], "type": "string"},
        "Details": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "born": {"type": "string", "format": "date"}},
            "required": ["name"],
        },
        "Every": {"type": "object", "properties": {"all": {"type": "array", "items": _GROUPS}}, "required": ["all"]},
        "Some": {"type": "object", "properties": {"any": {"type": "array", "items": _GROUPS}}, "required": ["any"]},
    },
    "properties": {
        "patient_id": {"type": "string", "format": "uuid"},
        "version": {"type": "integer"},
        "status": {"$ref": "#/$defs/Status"},
        "details": {"$ref": "#/$defs/Details", "x-personal": True},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "tags": {"type": "array", "items": {"type": "string"}},
        "group": _GROUPS,
    },
    "required": ["patient_id", "version", "status", "details", "tags"],
}


def _changed(change: Callable[[Schema], object]) -> list[str]:
    new = copy.deepcopy(OLD)
    change(new)
    return breaks({"t": OLD}, {"t": new})


BREAKING: dict[str, Callable[[Schema], object]] = {
    "/version is gone": lambda new: new["properties"].pop("version"),
    "/note is gone": lambda new: new["properties"].update(remark=new["properties"].pop("note")),
    "/reason is required now": lambda new: (new["properties"].update(reason={"type": "string"}), new["required"].append("reason")),
    "/note is required now": lambda new: new["required"].append("note"),
    "/version may be missing now": lambda new: new["required"].remove("version"),
    "/version was integer and is string": lambda new: new["properties"].update(version={"type": "string"}),
    "/note was null or string and is string": lambda new: new["properties"].update(note={"type": "string"}),
    "/version was integer and is integer or null": lambda new: new["properties"].update(
        version={"anyOf": [{"type": "integer"}, {"type": "null"}]}
    ),
    "/tags/* was string and is integer": lambda new: new["properties"]["tags"].update(items={"type": "integer"}),
    "/status does not allow 'known'": lambda new: new["$defs"]["Status"].update(enum=["new"]),
    "/patient_id has another format": lambda new: new["properties"]["patient_id"].pop("format"),
    "/note has another maxLength": lambda new: new["properties"]["note"]["anyOf"][0].update(maxLength=10),
    "/details/name is gone": lambda new: (new["$defs"]["Details"]["properties"].pop("name"), new["$defs"]["Details"]["required"].clear()),
    "/details/born has another format": lambda new: new["$defs"]["Details"]["properties"]["born"].update(format="date-time"),
    "/details is not marked as personal": lambda new: new["properties"]["details"].pop("x-personal"),
    "/group/all is gone": lambda new: new["$defs"]["Every"]["properties"].pop("all"),
    "travels on another topic": lambda new: new.update({"x-topic": "vantage.people.events"}),
    "has another subject": lambda new: new.update({"x-subject": "person/{patient_id}"}),
    "is another kind": lambda new: new.update({"x-kind": "command"}),
}
HARMLESS: dict[str, Callable[[Schema], object]] = {
    "nothing": lambda new: None,
    "an optional field": lambda new: new["properties"].update(language={"type": "string", "default": ""}),
    "an optional field inside": lambda new: new["$defs"]["Details"]["properties"].update(title={"type": "string", "default": ""}),
    "a value more": lambda new: new["$defs"]["Status"]["enum"].append("deceased"),
    "a mark more": lambda new: new["properties"]["note"].update({"x-personal": True}),
    "another description": lambda new: new.update(description="Something else."),
    "a class inside renamed": lambda new: (
        new["$defs"].update(Person=new["$defs"].pop("Details")),
        new["properties"]["details"].update({"$ref": "#/$defs/Person"}),
    ),
}


class TestBreaks:
    @pytest.mark.parametrize("expected", BREAKING)
    def test_a_breaking_change_is_named(self, expected: str) -> None:
        found = _changed(BREAKING[expected])
        assert len(found) == 1, found
        assert expected in found[0]

    @pytest.mark.parametrize("change", HARMLESS)
    def test_an_addition_passes(self, change: str) -> None:
        assert _changed(HARMLESS[change]) == []

    def test_a_removed_type_is_named_and_a_new_one_passes(self) -> None:
        assert breaks({"a": OLD}, {"b": OLD}) == ["a: the type is gone"]

    def test_a_schema_that_contains_itself_ends(self) -> None:
        node: Schema = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
        schema: Schema = {"$defs": {"Node": node}, "properties": {"first": {"$ref": "#/$defs/Node"}}}
        assert breaks({"t": schema}, {"t": copy.deepcopy(schema)}) == []


class TestHistory:
    @pytest.fixture
    def repository(self, tmp_path: Path) -> Path:
        folder = tmp_path / FOLDER
        folder.mkdir(parents=True)
        (folder / "vantage.old.thing-done.v1.json").write_text(json.dumps(OLD))
        for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "first"]):
            identity = ["-c", "user.name=Test", "-c", "user.email=test@vantage.example", "-c", "commit.gpgsign=false"]
            subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True, capture_output=True)
        return tmp_path

    def test_the_schemas_of_the_merge_base_count(self, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("VANTAGE_BASE", raising=False)
        subprocess.run(["git", "switch", "-q", "-c", "work"], cwd=repository, check=True)
        (repository / FOLDER / "vantage.old.thing-done.v1.json").unlink()
        revision = base_revision(repository)
        assert revision is not None
        assert committed(revision, repository) == {"vantage.old.thing-done.v1": OLD}

    def test_without_history_there_is_nothing_to_compare_with(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("VANTAGE_BASE", raising=False)
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
        assert base_revision(tmp_path) is None

    def test_the_command_fails_and_names_what_broke(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr("tools.compatibility.committed", lambda _: {"vantage.old.thing-done.v1": OLD, **current()})
        assert main(["abc"]) == 1
        assert "vantage.old.thing-done.v1: the type is gone" in capsys.readouterr().out
