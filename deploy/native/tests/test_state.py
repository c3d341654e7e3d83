"""What a checkout's system is stays what it is, and never meets another's."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from supervisor.datatypes import dict_of_key_value_pairs

from deploy.native import artifacts, postgres
from deploy.native.artifacts import Missing
from deploy.native.postgres import PostgresMissing
from deploy.native.state import KEYS, PORTS, ROLES, load, new_cluster_id
from deploy.native.supervisor import Program, configuration
from libs.common.secrets import LocalKeys, key_from_hex


class TestState:
    def test_is_chosen_once(self, tmp_path: Path) -> None:
        first = load(tmp_path)
        assert load(tmp_path) == first
        assert set(first.ports) == set(PORTS)
        assert set(first.secrets) == {*ROLES, *KEYS}

    def test_of_two_checkouts_shares_no_port_no_secret_and_no_cluster(self, tmp_path: Path) -> None:
        one, other = load(tmp_path / "one"), load(tmp_path / "other")
        assert not set(one.secrets.values()) & set(other.secrets.values())
        assert one.kafka_cluster_id != other.kafka_cluster_id
        assert one.ports != other.ports

    def test_keeps_secrets_to_its_owner(self, tmp_path: Path) -> None:
        load(tmp_path)
        assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0

    def test_takes_over_the_secrets_of_an_older_version(self, tmp_path: Path) -> None:
        older = dict(load(tmp_path).secrets)
        before = older.pop("secrets_keys").removeprefix("first:")
        del older["cursor_key"]
        (tmp_path / "secrets.json").write_text(json.dumps({**older, "secrets_key": before}))
        now = load(tmp_path).secrets
        assert set(now) == {*ROLES, *KEYS}
        assert now["secrets_keys"] == f"first:{before}"
        assert older.items() <= now.items()
        assert load(tmp_path).secrets == now
        assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0

    def test_makes_keys_that_services_take(self, tmp_path: Path) -> None:
        secrets = load(tmp_path).secrets
        assert LocalKeys.parse(secrets["secrets_keys"]).current == "first"
        assert key_from_hex(secrets["cursor_key"])

    def test_survives_a_death_while_it_was_written(self, tmp_path: Path) -> None:
        (tmp_path / "ports.json.new").write_text('{"half": ')
        state = load(tmp_path)
        assert json.loads((tmp_path / "ports.json").read_text()) == state.ports

    def test_a_cluster_id_never_looks_like_an_option(self) -> None:
        assert not any(new_cluster_id().startswith("-") for _ in range(500))


class TestWhatIsMissing:
    def test_is_named_with_its_package(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(shutil, "which", lambda _: None)
        with pytest.raises(Missing, match="apt-get install maven"):
            artifacts.jars(tmp_path)
        monkeypatch.setattr(shutil, "which", lambda _: None)
        monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
        with pytest.raises(PostgresMissing, match="apt-get install postgresql"):
            postgres.binaries()

    def test_is_not_installed_without_a_package_manager(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "which", lambda _: None)
        assert artifacts.install_packages(["maven"]) is False


class TestSupervisorConfiguration:
    def test_escapes_what_supervisor_would_expand(self, tmp_path: Path) -> None:
        program = Program("one", ["sh", "-c", 'echo "50%"'], 10, {"SECRET": "a%b'c", "KEYS": '[{"kty":"EC"}]'})
        text = configuration([program], tmp_path, tmp_path, tmp_path)
        assert "50%%" in text
        environment = next(line for line in text.splitlines() if line.startswith("environment="))
        found = dict_of_key_value_pairs(environment.removeprefix("environment=").replace("%%", "%"))
        assert found == {"SECRET": "a%b'c", "KEYS": '[{"kty":"EC"}]'}
        with pytest.raises(ValueError, match="both kinds"):
            configuration([replace(program, environment={"X": "'\""})], tmp_path, tmp_path, tmp_path)
