"""The command line every service has: ``python -m services.<name> serve | migrate | parked ... | secrets ...``.

Bad usage and bad settings end with one line on standard error and exit code 2; a failed command with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from pydantic import ValidationError

from libs.common.logging import start_logging
from libs.common.migrations import migrate
from libs.common.secrets import KeyWrong
from libs.common.secrets.rotation import Rotation
from libs.common.service import Service, serve
from libs.common.settings import MigrationSettings, ServiceSettings

S = TypeVar("S", bound=ServiceSettings)


def main(name: str, settings: type[S], build: Callable[[S], Service], arguments: list[str] | None = None) -> int:
    """Parse the arguments and run; returns the exit code."""
    options = _parser(name).parse_args(arguments)
    try:
        if options.command == "migrate":
            migrate(name, MigrationSettings().migration_database_url.get_secret_value())
            return 0
        told = settings()
        start_logging(name, told.log_level)
        service = build(told)
    except ValidationError as error:
        print(f"{name}: settings: {settings_problem(error)}", file=sys.stderr)
        return 2
    except ValueError as error:  # settings that are well-formed and still cannot be used; the text names no value
        print(f"{name}: settings: {error}", file=sys.stderr)
        return 2
    if options.command == "serve":
        serve(service)
        return 0
    return asyncio.run(_secrets(service, options) if options.command == "secrets" else _parked(service, options))


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m services.{name}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="run the service until SIGTERM")
    commands.add_parser("migrate", help="bring the schema to the newest version")
    parked = commands.add_parser("parked", help="messages that were put aside").add_subparsers(dest="verb", required=True)
    parked.add_parser("list", help="what is parked, and why")
    redrive = parked.add_parser("redrive", help="handle a subject's parked messages again, in order")
    redrive.add_argument("practice", type=UUID)
    redrive.add_argument("subject")
    correct = parked.add_parser("correct", help="replace a parked message's data, then redrive its subject")
    discard = parked.add_parser("discard", help="give a parked message up; what waits behind it goes on")
    for verb in (correct, discard):
        verb.add_argument("practice", type=UUID)
        verb.add_argument("id", type=UUID)
        verb.add_argument("--note", required=True, help="why; kept with the message")
    correct.add_argument("--value", type=Path, required=True, help="file with the corrected data")
    secrets = commands.add_parser("secrets", help="the keys that sealed values are under").add_subparsers(dest="verb", required=True)
    secrets.add_parser("status", help="how many values are under which key")
    secrets.add_parser("rotate", help="bring every sealed value under the current key; again and again, if need be")
    return parser


def settings_problem(error: ValidationError) -> str:
    """What is missing or wrong, by variable name, never a value."""
    found = error.errors(include_input=False)
    names = [f"VANTAGE_{str(one['loc'][0]).upper()} ({_reason(one)})" if one["loc"] else one["msg"] for one in found]
    return "missing or wrong: " + ", ".join(names)


def _reason(found: Mapping[str, Any]) -> object:
    """What is wrong with a setting, in words that do not repeat it."""
    error = found.get("ctx", {}).get("error")
    return error if isinstance(error, KeyWrong) else found["type"]


async def _secrets(service: Service, options: argparse.Namespace) -> int:
    rotation = Rotation(service.work, service.box, service.sealed)
    try:
        if options.verb == "status":
            for key_id, count in sorted((await rotation.status()).items()):
                print(key_id, count, "current" if key_id == service.box.current else "old", sep="\t")
            return 0
        moved = await rotation.rotate()
        left = await rotation.outstanding()
        print(f"{moved} re-wrapped, {left} not under the current key")
        return 1 if left else 0
    finally:
        await service.engine.dispose()


async def _parked(service: Service, options: argparse.Namespace) -> int:
    redrive = service.redrive
    try:
        if options.verb == "list":
            for message in await redrive.listing(await redrive.practices_with_parked()):
                place = f"{message.topic}/{message.partition}/{message.offset}"
                print(message.parked_at.isoformat(), message.practice_id, message.id, message.subject, place, message.code, sep="\t")
            return 0
        if options.verb == "redrive":
            moved = await redrive.subject(options.practice, options.subject)
            print(f"{moved} handled")
            return 0 if moved else 1
        if options.verb == "correct":
            found = await redrive.correct(options.practice, options.id, options.value.read_bytes(), options.note)
        else:
            found = await redrive.discard(options.practice, options.id, options.note)
        print("done" if found else "not parked")
        if found and options.verb == "correct":
            await _redrive_subject_of(service, options.practice, options.id)
        return 0 if found else 1
    finally:
        await service.engine.dispose()


async def _redrive_subject_of(service: Service, practice_id: UUID, parked_id: UUID) -> None:
    for message in await service.redrive.listing([practice_id]):
        if message.id == parked_id:
            print(f"{await service.redrive.subject(practice_id, message.subject)} handled")
