"""A Postgres cluster from the distribution's binaries, in a directory of ours, as an unprivileged user.

Postgres refuses to run as root; when we are root it runs as user ``postgres``, who must be able to reach the directory.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

USER = "postgres"
DEFAULTS = {
    "listen_addresses": "127.0.0.1",
    "wal_level": "logical",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "max_slot_wal_keep_size": "4GB",
    "max_connections": "120",
    "shared_buffers": "128MB",
    "log_error_verbosity": "terse",
    "log_parameter_max_length_on_error": "0",
}


class PostgresMissing(RuntimeError):
    """The Postgres server programs are not installed."""


def binaries() -> Path:
    """Where initdb and postgres live. Raises ``PostgresMissing`` saying what to install."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    raise PostgresMissing("Postgres is not installed: apt-get install postgresql (15 or newer, with its contrib extensions)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def as_postgres(command: list[str]) -> list[str]:
    """The command, run by user postgres when we are root."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]


class PostgresCluster:
    """One data directory. ``port`` is chosen at ``initialise`` unless given."""

    def __init__(self, directory: Path, *, port: int | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.data = directory / "data"
        self._settings = {**DEFAULTS, **(settings or {})}
        self._port = port

    @property
    def port(self) -> int:
        if self._port is None:
            self._port = int((self.directory / "port").read_text())
        return self._port

    @property
    def initialised(self) -> bool:
        return (self.data / "PG_VERSION").exists()

    def initialise(self, superuser_password: str) -> None:
        """initdb with password authentication on TCP; nothing happens when it is done already."""
        if self.initialised:
            self._configure()
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        self._port = self._port or free_port()
        (self.directory / "port").write_text(str(self._port))
        password_file = self.directory / "superuser"
        password_file.write_text(superuser_password)
        self._hand_over(self.directory, password_file)
        command = [str(binaries() / "initdb"), "-D", str(self.data), "-U", "postgres", "-E", "UTF8", "--no-locale", "--data-checksums"]
        command += ["--auth=scram-sha-256", f"--pwfile={password_file}"]
        subprocess.run(as_postgres(command), check=True, capture_output=True, cwd="/")
        password_file.unlink()
        self._configure()

    def _hand_over(self, *paths: Path) -> None:
        for path in paths:
            if os.geteuid() == 0:
                shutil.chown(path, USER, USER)
            path.chmod(0o700 if path.is_dir() else 0o600)

    def _configure(self) -> None:
        lines = [f"{name} = '{value}'" for name, value in self._settings.items()]
        lines += [f"port = {self.port}", f"unix_socket_directories = '{self.sockets()}'"]
        target = self.data / "postgresql.auto.conf"
        target.write_text("\n".join(lines) + "\n")
        self._hand_over(target)

    def sockets(self) -> Path:
        """A short directory for the socket: its path may not exceed about 100 bytes."""
        directory = Path(tempfile.gettempdir()) / f"vantage-pg-{self.port}"
        directory.mkdir(exist_ok=True)
        self._hand_over(directory)
        return directory

    def foreground(self) -> list[str]:
        """The command that runs the server as a child of its supervisor."""
        return as_postgres([str(binaries() / "postgres"), "-D", str(self.data)])

    def start_detached(self) -> None:
        """Start and wait until it accepts connections."""
        log = self.directory / "log"
        command = [str(binaries() / "pg_ctl"), "-D", str(self.data), "-l", str(log), "-w", "-t", "60", "start"]
        subprocess.run(as_postgres(command), check=True, capture_output=True, cwd="/")

    def stop_detached(self) -> None:
        command = [str(binaries() / "pg_ctl"), "-D", str(self.data), "-m", "immediate", "-w", "stop"]
        subprocess.run(as_postgres(command), check=False, capture_output=True, cwd="/")
        shutil.rmtree(self.sockets(), ignore_errors=True)

    def url(self, user: str, password: str, database: str) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"
