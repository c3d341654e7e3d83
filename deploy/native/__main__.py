"""``python -m deploy.native up | down | status | logs | apply | watch``: the system of this checkout."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from deploy.native import state as states
from deploy.native import temporal
from deploy.native.artifacts import Missing, install_packages, jars, java
from deploy.native.postgres import PostgresMissing, binaries
from deploy.native.system import NotReady, System
from deploy.native.watchdog import Watchdog

DEFAULT = states.ROOT / ".vantage"
ENGINE = "VANTAGE_WORKFLOW_ENGINE"
"""Says which engine new runs begin on when the system comes up."""


def main() -> int:
    options = _parser().parse_args()
    try:
        system = System(states.load(options.state, os.environ.get(ENGINE, "builtin")), DEFAULT)
        commands = {
            "up": _up, "down": _down, "status": _status, "logs": _logs, "apply": _apply, "watch": _watch, "temporal": _temporal,
        }  # fmt: skip
        return commands[options.command](system, options)
    except (Missing, PostgresMissing, NotReady, ValueError) as error:
        print(f"vantage: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.native")
    parser.add_argument("--state", type=Path, default=DEFAULT, help="state directory (default: .vantage)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="bring everything up; repeatable")
    commands.add_parser("down", help="stop everything; data stays")
    commands.add_parser("status", help="what runs, where, and what differs from what is declared")
    logs = commands.add_parser("logs", help="the last lines of one process")
    logs.add_argument("name")
    logs.add_argument("--lines", type=int, default=50)
    apply = commands.add_parser("apply", help="topics, connector, roles, publication as declared")
    apply.add_argument("--check", action="store_true", help="only tell what differs; exit code 1 when something does")
    commands.add_parser("temporal", help="build the Temporal server, once; tells where it is")
    commands.add_parser("watch", help="the connector watchdog (run by the supervisor)")
    return parser


def require_parts() -> None:
    """Postgres, Java and the jars; installs what it may. Raises ``Missing`` or ``PostgresMissing`` naming the rest."""
    try:
        binaries()
    except PostgresMissing:
        print("installing Postgres …")
        install_packages(["postgresql", "postgresql-contrib"])
        binaries()
    java()
    try:
        jars(DEFAULT)
    except Missing:
        print("installing Maven …")
        install_packages(["maven"])
        jars(DEFAULT)


def _up(system: System, _: argparse.Namespace) -> int:
    require_parts()
    system.up()
    print(f"gateway   {system.state.gateway}")
    print(f"mails     {system.state.http('sendgrid')}/")
    if system.state.has_temporal:
        print(f"temporal  http://{system.state.host('temporal')}:{system.state.ports['temporal_ui']}/")
    return 0


def _down(system: System, _: argparse.Namespace) -> int:
    system.down()
    return 0


def _status(system: System, _: argparse.Namespace) -> int:
    if not system.supervisor.running:
        print("not running")
        return 1
    bad = 0
    for name, info in sorted(system.supervisor.states().items()):
        bad += info["statename"] != "RUNNING"
        port = system.state.ports.get(name, "")
        print(f"{name:14} {info['statename']:9} {port!s:6} {info['description']}")
    return 1 if bad else _tell_drift(system)


def _tell_drift(system: System) -> int:
    found = system.drift()
    for line in found:
        print(f"drift: {line}")
    return 1 if found else 0


def _logs(system: System, options: argparse.Namespace) -> int:
    path = system.state.logs / f"{options.name}.log"
    if not path.exists():
        print(f"vantage: there is no log of {options.name}", file=sys.stderr)
        return 2
    return subprocess.run(["tail", "-n", str(options.lines), str(path)], check=False).returncode


def _apply(system: System, options: argparse.Namespace) -> int:
    if options.check:
        return _tell_drift(system)
    system.apply()
    return 0


def _temporal(_: System, __: argparse.Namespace) -> int:
    print(temporal.server(DEFAULT))
    return 0


def _watch(system: System, _: argparse.Namespace) -> int:
    Watchdog(system).forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
