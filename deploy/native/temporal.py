"""Temporal natively: the command line with its server, built once, and the test server that skips time."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from deploy.native.artifacts import Missing, jars, java
from deploy.render import DEPLOY

MODULE = DEPLOY / "temporal"
PACKAGE = "github.com/temporalio/cli/cmd/temporal"
FAIR = ("--dynamic-config-value", "matching.enableFairness=true")


def place(cache: Path) -> Path:
    """Where the ``temporal`` program of ``deploy/temporal/go.mod`` is kept, built or not."""
    stamp = hashlib.sha256((MODULE / "go.mod").read_bytes() + (MODULE / "go.sum").read_bytes()).hexdigest()[:12]
    return cache / "bin" / f"temporal-{stamp}"


def server(cache: Path) -> Path:
    """The program. Built once: minutes, or seconds where Go's cache knows it. Raises ``Missing``."""
    program = place(cache)
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    with (program.parent / "temporal.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # who comes second waits for the first
        if not program.exists():
            _build(program)
    return program


def _build(program: Path) -> None:
    print("Building the Temporal server with Go (once; minutes the first time on a machine) …", flush=True)
    unfinished = program.with_suffix(".new")
    command = [_go(), "build", "-ldflags", "-s -w", "-o", str(unfinished), PACKAGE]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=readonly", "GOTOOLCHAIN": "local"}
    result = subprocess.run(command, cwd=MODULE, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Missing(f"Go could not build the Temporal server: {result.stderr.strip()[-500:]}")
    unfinished.replace(program)


def _go() -> str:
    found = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if found is None:
        raise Missing("Go 1.26 or newer is not installed: it builds the Temporal server once")
    return found


def server_command(program: Path, *, port: int, database: Path | None, ip: str = "127.0.0.1", ui_port: int | None = None) -> list[str]:
    """A server of one process that keeps everything in one file; without ``database`` in memory. Practices take turns in its queues."""
    command = [str(program), "server", "start-dev", "--ip", ip, "--port", str(port), "--log-level", "warn", *FAIR]
    command += ["--headless"] if ui_port is None else ["--ui-ip", ip, "--ui-port", str(ui_port)]
    return command if database is None else [*command, "--db-filename", str(database)]


def skipping_server(cache: Path) -> Path:
    """A program that runs Temporal's test server, which skips time, on the port it is given. Raises ``Missing``."""
    library = jars(cache, MODULE / "pom.xml", "Temporal's test server", "38 MB")
    program = cache / "bin" / f"temporal-skipping-{library.name}"
    program.parent.mkdir(parents=True, exist_ok=True)
    text = f"#!/bin/sh\nexec '{java()}' -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp '{library}/*' io.temporal.testserver.TestServer \"$@\"\n"
    if not program.exists() or program.read_text() != text:
        unfinished = program.with_suffix(f".{os.getpid()}")
        unfinished.write_text(text)
        unfinished.chmod(0o755)
        unfinished.replace(program)
    return program
