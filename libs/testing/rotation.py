"""What rotation tests of services share: two keys, a value as version 1 sealed it, the command as an operator runs it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

import psycopg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libs.common.main import main
from libs.common.migrations import migrate
from libs.common.secrets.envelope import HEAD_BYTES, key_id_of
from libs.common.secrets.rotation import SealedColumn
from libs.common.service import Service
from libs.testing.fixtures import CURSOR_KEY, GATEWAY_KEY, GATEWAY_PROOF, ISSUER
from libs.testing.postgres import TENANCY_KEY, TestDatabase

OLD = "2025:" + sha256(b"old").hexdigest()
NEW = "2026:" + sha256(b"new").hexdigest()


def version_1(practice: UUID, purpose: str, secret: str) -> bytes:
    """As an installation sealed under the key of ``OLD`` before there were envelopes."""
    nonce = os.urandom(12)
    key = bytes.fromhex(OLD.partition(":")[2])
    return b"\x01" + nonce + AESGCM(key).encrypt(nonce, secret.encode(), f"{practice}|{purpose}".encode())


@dataclass
class Operator:
    """Runs ``python -m services.<service> secrets …`` against a database of its own."""

    service: str
    settings: type[Any]
    build: Callable[[Any], Service]
    database: TestDatabase
    capture: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    async def secrets(self, verb: str, keys: str) -> tuple[int, str]:
        """Exit code and what was printed."""
        values = {
            "HTTP_PORT": "1", "DATABASE_URL": self.database.app(self.service), "KAFKA": "127.0.0.1:1", "TENANCY_KEY": TENANCY_KEY,
            "SECRETS_KEYS": keys, "CURSOR_KEY": CURSOR_KEY, "GATEWAY_KEY": GATEWAY_KEY, "GATEWAY_PROOF": GATEWAY_PROOF, "ISSUER": ISSUER, "JWKS_URL": "http://127.0.0.1:1/", "LOG_LEVEL": "critical",
            "SENDGRID_URL": "http://127.0.0.1:1",
        }  # fmt: skip
        for name, value in values.items():
            self.monkeypatch.setenv(f"VANTAGE_{name}", value)
        self.capture.readouterr()
        code = await asyncio.to_thread(main, self.service, self.settings, self.build, ["secrets", verb])
        return code, self.capture.readouterr().out

    def start_from(self, revision: str) -> None:
        """The service's schema as it was at this revision, empty."""
        self.sql(f"DROP SCHEMA {self.service} CASCADE")
        self.sql(f"CREATE SCHEMA {self.service} AUTHORIZATION {self.service}_owner")
        self.sql(f"GRANT USAGE ON SCHEMA {self.service} TO {self.service}_app")
        self.migrate(revision)

    def migrate(self, revision: str = "head") -> None:
        migrate(self.service, self.database.url(f"{self.service}_owner"), revision)

    def declared(self) -> list[SealedColumn]:
        """Where the service says that it keeps sealed values."""
        told = {
            "http_port": 1, "database_url": self.database.app(self.service), "kafka": "127.0.0.1:1", "tenancy_key": TENANCY_KEY,
            "secrets_keys": NEW, "cursor_key": CURSOR_KEY, "gateway_key": GATEWAY_KEY, "gateway_proof": GATEWAY_PROOF, "issuer": ISSUER, "jwks_url": "http://127.0.0.1:1/",
        }  # fmt: skip
        return self.build(self.settings(**told)).sealed

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """As superuser, of every practice."""
        with psycopg.connect(self.database.url("postgres"), autocommit=True, options=f"-c search_path={self.service}") as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def under(self, *columns: tuple[str, str]) -> Counter[str]:
        """How many values of these columns are under which key, by their own word."""
        found: Counter[str] = Counter()
        for table, column in columns:
            for (value,) in self.sql(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"):
                found[key_id_of(value[:HEAD_BYTES]) or "version 1"] += 1
        return found
