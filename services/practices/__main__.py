"""``python -m services.practices``: serve, migrate, parked; and operators add | end, reconcile."""

from __future__ import annotations

import argparse
import asyncio
import sys

from pydantic import ValidationError

from libs.common.errors import Trouble
from libs.common.main import main, settings_problem
from libs.common.service import Service
from services.practices.app import build, provider
from services.practices.commands.operators import add_operator, end_operator
from services.practices.commands.reconcile import reconcile
from services.practices.rules.provider import ProviderUnreachable
from services.practices.settings import Settings


def own(arguments: list[str]) -> int:
    """The commands only practices has. Exit codes: 0 done, 1 not possible or drift found, 2 bad usage or settings."""
    parser = argparse.ArgumentParser(prog="python -m services.practices")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("reconcile", help="compare with the identity provider and repair; exit code 1 when something differed")
    verbs = commands.add_parser("operators", help="Vantage admins").add_subparsers(dest="verb", required=True)
    add = verbs.add_parser("add", help="invite one")
    add.add_argument("--name", required=True)
    end = verbs.add_parser("end", help="end one's access")
    for verb in (add, end):
        verb.add_argument("--email", required=True)
    options = parser.parse_args(arguments)
    try:
        settings = Settings()
    except ValidationError as error:
        print(f"practices: settings: {settings_problem(error)}", file=sys.stderr)
        return 2
    try:
        return asyncio.run(_run(options, settings, build(settings)))
    except (Trouble, ValueError, ProviderUnreachable) as error:
        print(f"practices: {options.command}: {error}", file=sys.stderr)
        return 1


async def _run(options: argparse.Namespace, settings: Settings, service: Service) -> int:
    try:
        if options.command == "reconcile":
            drifts = await reconcile(service.work, provider(settings))
            for drift in drifts:
                print(drift.what, drift.identity, sep="\t")
            print(f"{len(drifts)} repaired")
            return 1 if drifts else 0
        if options.verb == "add":
            print(f"invited\t{(await add_operator(options.name, options.email, service.work)).user_id}")
            return 0
        found = await end_operator(options.email, service.work)
        print("ended" if found else "no such Vantage admin")
        return 0 if found else 1
    finally:
        await service.engine.dispose()


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(own(given) if given[:1] in (["operators"], ["reconcile"]) else main("practices", Settings, build, given))
