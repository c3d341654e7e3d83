"""The first command on a machine works, or says in one line what is missing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOOTSTRAP = ROOT / "tools" / "bootstrap.sh"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
"""Ours, without what a make around us passes on."""

VERBS = ("check", "test", "fmt", "generate", "lock", "up", "down", "status", "logs", "demo", "bench")


def run(*arguments: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(BOOTSTRAP), *arguments], capture_output=True, text=True, check=False, timeout=60, env={"PATH": path}
    )


def program(folder: Path, name: str, body: str) -> Path:
    target = folder / name
    target.write_text(f"#!/bin/sh\n{body}\n")
    target.chmod(0o755)
    return target


class TestBootstrap:
    def test_says_that_python_is_missing(self, tmp_path: Path) -> None:
        done = run("", str(tmp_path / "env"))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "Python 3.11" in done.stderr

    def test_says_that_python_is_too_old(self, tmp_path: Path) -> None:
        old = program(tmp_path, "python3", 'case "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac')
        done = run(str(old), str(tmp_path / "env"))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "Python 3.9.2" in done.stderr

    def test_says_that_venv_is_missing_when_it_may_not_install_it(self, tmp_path: Path) -> None:
        bare = program(tmp_path, "python3", 'case "$1" in -m) exit 1;; *) exit 0;; esac')
        program(tmp_path, "id", "echo 1000")
        done = run(str(bare), str(tmp_path / "env"), path=f"{tmp_path}:{os.environ['PATH']}")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "apt-get install python3-venv" in done.stderr

    def test_installs_venv_when_it_may(self, tmp_path: Path) -> None:
        marker = tmp_path / "installed"
        bare = program(tmp_path, "python3", f'case "$1" in -m) test -e {marker};; *) exit 0;; esac')
        program(tmp_path, "id", "echo 0")
        program(tmp_path, "apt-get", f'case "$*" in *python3-venv*) touch {marker};; esac')
        assert run(str(bare), str(tmp_path / "env"), path=f"{tmp_path}:{os.environ['PATH']}").returncode == 0


@pytest.mark.parametrize("verb", VERBS)
def test_make_knows_every_verb_and_explains_it(verb: str) -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert f"make {verb} " in done.stdout


def test_ci_passes_only_with_tests_and_ends_with_their_closing_line(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci" / "run"
    script.write_text((ROOT / ".ci" / "run").read_text())
    for recipe, code, last in (
        ("@echo '12 passed in 3.10s'; echo later", 0, "12 passed in 3.10s"),
        ("@echo '1 failed, 12 passed in 3.10s'; exit 1", 2, "1 failed, 12 passed in 3.10s"),
        ("@echo 'no tests ran in 0.01s'", 1, "no test ran"),
        ("@true", 1, "no test ran"),
    ):
        (tmp_path / "Makefile").write_text(f"test:\n\t{recipe}\n")
        done = subprocess.run(["/bin/sh", str(script)], capture_output=True, text=True, check=False, env=ENVIRONMENT)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (code, last)
