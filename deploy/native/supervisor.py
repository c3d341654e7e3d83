"""Every process under one supervisord: started in order by us, restarted by it when it dies."""

from __future__ import annotations

import http.client
import os
import shlex
import subprocess
import sys
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport


@dataclass(frozen=True)
class Program:
    """One supervised process. ``priority``: lower starts earlier and stops later."""

    name: str
    command: Sequence[str]
    priority: int
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_seconds: int = 25


_HEAD = """[supervisord]
logfile={logs}/supervisord.log
pidfile={directory}/supervisord.pid
childlogdir={logs}
nodaemon=false
{user}
[unix_http_server]
file={directory}/supervisor.sock
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
_PROGRAM = """
[program:{name}]
command={command}
directory={root}
environment={environment}
priority={priority}
autostart=false
autorestart=true
startsecs=1
startretries=1000
stopsignal=TERM
stopwaitsecs={stop}
killasgroup=false
redirect_stderr=true
stdout_logfile={logs}/{name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=2
"""


def configuration(programs: Sequence[Program], directory: Path, logs: Path, root: Path) -> str:
    """The text of supervisord's configuration. Values with quotes or percent signs are escaped for it."""
    user = "user=root\n" if os.geteuid() == 0 else ""
    sections = [_HEAD.format(directory=directory, logs=logs, user=user)]
    for program in programs:
        environment = ",".join(f"{name}={_quoted(value)}" for name, value in program.environment.items())
        sections.append(
            _PROGRAM.format(
                name=program.name, command=_escaped(shlex.join(program.command)), root=root, environment=environment,
                priority=program.priority, stop=program.stop_seconds, logs=logs,
            )
        )  # fmt: skip
    return "".join(sections)


def _escaped(text: str) -> str:
    return text.replace("%", "%%").replace('"', '\\"')


def _quoted(text: str) -> str:
    """A value of the environment. Supervisor knows no escapes within quotes, but either kind of them around a value."""
    quote = "'" if '"' in text else '"'
    if quote in text:
        message = "a value with both kinds of quotes cannot be written for supervisord"
        raise ValueError(message)
    return quote + text.replace("%", "%%") + quote


class Supervisor:
    """Talks to the supervisord of one state directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def _rpc(self) -> Any:
        """A new connection for each call: the transport cannot be used again after a failure."""
        socket = f"unix://{self._directory}/supervisor.sock"
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=SupervisorTransport(None, None, socket)).supervisor

    @property
    def running(self) -> bool:
        try:
            return bool(self._rpc.getState()["statename"] == "RUNNING")
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return False

    def launch(self) -> None:
        """Start supervisord itself, detached from us."""
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._directory / "supervisord.conf")]
        subprocess.run(command, check=True, capture_output=True)

    def reread(self) -> None:
        """Take over a changed configuration: programs that changed are stopped and known anew."""
        added, changed, removed = self._rpc.reloadConfig()[0]
        for name in (*changed, *removed):
            self._rpc.stopProcessGroup(name)
            self._rpc.removeProcessGroup(name)
        for name in (*added, *changed):
            self._rpc.addProcessGroup(name)

    def states(self) -> dict[str, dict[str, Any]]:
        return {info["name"]: info for info in self._rpc.getAllProcessInfo()}

    def start(self, *names: str) -> None:
        """Start what is not running; does not wait for it to be ready."""
        states = self.states()
        for name in names:
            if states[name]["statename"] not in {"RUNNING", "STARTING"}:
                self._rpc.startProcess(name, False)

    def stop(self, *names: str) -> None:
        for name in names:
            if self.states()[name]["statename"] in {"RUNNING", "STARTING", "BACKOFF"}:
                self._rpc.stopProcess(name, True)

    def pid(self, name: str) -> int:
        """The process id; 0 when it is not running."""
        return int(self.states()[name]["pid"])

    def shutdown(self) -> int | None:
        """Stop everything in reverse order, supervisord last; returns its pid, None when it was not running."""
        if not self.running:
            return None
        pid = int(self._rpc.getPID())
        self._rpc.shutdown()
        return pid
