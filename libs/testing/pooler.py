"""PgBouncer in transaction mode before the test's Postgres: few server connections that many clients really share."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg

from deploy.native.artifacts import install_packages
from deploy.native.postgres import as_postgres
from libs.testing.postgres import PASSWORD, TestDatabase
from libs.testing.probe import until

SERVER_CONNECTIONS = 3
_CONFIG = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = plain
auth_file = {users}
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
server_reset_query =
ignore_startup_parameters =
logfile = {directory}/log
pidfile = {directory}/pid
"""


def program() -> str:
    """Where PgBouncer is; installed where that is allowed. Raises ``LookupError``."""
    for _ in range(2):
        found = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
        if found is not None:
            return found
        install_packages(["pgbouncer"])
    message = "PgBouncer is not installed: apt-get install pgbouncer"
    raise LookupError(message)


@contextmanager
def pooled(database: TestDatabase, roles: list[str]) -> Iterator[TestDatabase]:
    """The same database through the pooler, until the block is left."""
    directory = Path(tempfile.mkdtemp(prefix="vantage-pooler-"))
    directory.chmod(0o777)
    listen = _free_port()
    users = directory / "users"
    users.write_text("".join(f'"{role}" "{PASSWORD}"\n' for role in roles))
    config = directory / "pgbouncer.ini"
    config.write_text(
        _CONFIG.format(host=database.host, port=database.port, listen=listen, users=users, size=SERVER_CONNECTIONS, directory=directory)
    )
    process = subprocess.Popen(as_postgres([program(), "-q", str(config)]), cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    through = replace(database, port=listen)
    try:
        until(lambda: _answers(through.url(roles[0])), what="the pooler answering")
        yield through
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
