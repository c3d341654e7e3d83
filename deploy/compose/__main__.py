"""``python -m deploy.compose secrets | prepare | migrate | apply | watch``: the steps of docker-compose.yml, one a container.

``secrets`` is for a person: it prints a fresh ``.env``. The others read their secrets from the environment.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from deploy.compose import containers
from deploy.compose.containers import CLUSTER_ID, CONFIG, VariableMissing, variable
from deploy.native.backbone import Backbone
from deploy.native.connect import ConnectFailed
from deploy.native.state import new_cluster_id, new_secrets
from deploy.native.watchdog import Watchdog


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        {"secrets": _secrets, "prepare": _prepare, "migrate": _migrate, "apply": _apply, "watch": _watch}[options.command](options)
    except (VariableMissing, ConnectFailed) as error:
        print(f"vantage: {options.command}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.compose")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("secrets", help="print a fresh .env: passwords, keys, Kafka cluster id")
    prepare = commands.add_parser("prepare", help="write the configuration files of Kafka, Connect and the gateway")
    prepare.add_argument("--target", type=Path, default=CONFIG)
    commands.add_parser("migrate", help="roles, schemas, migrations, publication, slot")
    commands.add_parser("apply", help="topics and connector as declared; tells what differs otherwise")
    commands.add_parser("watch", help="restart failed connector tasks, tell when events do not leave the outboxes")
    return parser


def _secrets(_: argparse.Namespace) -> None:
    for name, value in new_secrets().items():
        print(f"{variable(name)}={value}")
    print(f"{CLUSTER_ID}={new_cluster_id()}")


def _prepare(options: argparse.Namespace) -> None:
    options.target.mkdir(parents=True, exist_ok=True)
    for path in containers.prepare(containers.state({}, ""), options.target):
        print(path)


def _migrate(_: argparse.Namespace) -> None:
    Backbone(containers.from_environment(os.environ, containers.everything())).declare_database()


def _apply(_: argparse.Namespace) -> None:
    backbone = Backbone(containers.from_environment(os.environ, ["postgres"], cluster=True))
    backbone.declare_topics()
    backbone.connect_client.until_ready()
    backbone.connector()


def _watch(_: argparse.Namespace) -> None:
    Watchdog(Backbone(containers.from_environment(os.environ, ["postgres"], cluster=True))).forever()


if __name__ == "__main__":
    sys.exit(main())
