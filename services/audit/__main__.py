"""``python -m services.audit``: serve, migrate, parked; and verify an export, reconcile outboxes with the ledger."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tarfile
from datetime import timedelta
from pathlib import Path

import asyncpg

from services.audit.commands.reconcile import compare
from services.audit.rules.verification import Verdict, verify_export


def verify(arguments: list[str]) -> int:
    """Judge a bundle offline. Exit codes: 0 genuine, 1 tampered, 2 bad signature, 3 truncated, 5 unusable input."""
    parser = argparse.ArgumentParser(prog="python -m services.audit verify")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--vkey", help="the key to trust; without it the bundle's own is used, which proves less")
    options = parser.parse_args(arguments)
    try:
        with tarfile.open(options.bundle) as archive:
            files = {member.name: archive.extractfile(member) for member in archive.getmembers() if member.isfile()}
            content = {name: stream.read() for name, stream in files.items() if stream is not None}
        entries = content["entries.jsonl"].splitlines()
        note, vkey = content["checkpoint"].decode(), options.vkey or content["vkey"].decode()
    except (OSError, tarfile.TarError, KeyError, UnicodeDecodeError) as error:
        print(f"unusable: {type(error).__name__}: the bundle cannot be read", file=sys.stderr)
        return int(Verdict.UNUSABLE)
    report = verify_export(entries, note, vkey)
    print(f"{report.verdict.name.lower().replace('_', ' ')}: {report.text}", file=sys.stdout if report.verdict == 0 else sys.stderr)
    return int(report.verdict)


def reconcile(arguments: list[str]) -> int:
    """Compare outboxes with the ledger. Exit codes: 0 equal, 1 different, 5 the database cannot be asked."""
    parser = argparse.ArgumentParser(prog="python -m services.audit reconcile")
    parser.add_argument("--url", required=True, help="postgresql:// URL of the auditor role")
    parser.add_argument("--settle", type=float, default=60.0, help="seconds a message may be on its way")
    options = parser.parse_args(arguments)
    try:
        found = asyncio.run(compare(options.url, timedelta(seconds=options.settle)))
    except (OSError, asyncpg.PostgresError) as error:
        print(f"the database cannot be asked: {type(error).__name__}", file=sys.stderr)
        return int(Verdict.UNUSABLE)
    for difference in found.differences:
        print(difference.what, difference.service, difference.event_id, sep="\t")
    print(f"{found.said} said, {found.entered} entered, {len(found.differences)} different")
    return 1 if found.differences else 0


def _service(arguments: list[str]) -> int:
    from libs.common.main import main  # noqa: PLC0415 - verifying needs no service
    from services.audit.app import build  # noqa: PLC0415
    from services.audit.settings import Settings  # noqa: PLC0415

    return main("audit", Settings, build, arguments)


if __name__ == "__main__":
    commands = {"verify": verify, "reconcile": reconcile}
    sys.exit(
        commands.get(sys.argv[1] if len(sys.argv) > 1 else "", _service)(
            sys.argv[2:] if sys.argv[1:2] and sys.argv[1] in commands else sys.argv[1:]
        )
    )
