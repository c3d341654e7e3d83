"""The trigger for hosted Supabase projects signs what our hook verifies. pg_net and the vault are stood in for by tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from libs.testing.fixtures import HOOK_SECRET
from libs.testing.postgres import TestDatabase
from services.practices.rules.provider import UserChange
from services.practices.rules.signatures import check_signature, read_secrets

SCRIPT = (Path(__file__).resolve().parents[2] / "deploy" / "supabase" / "user_webhook.sql").read_text()
_AROUND = """
CREATE SCHEMA IF NOT EXISTS auth; CREATE SCHEMA net; CREATE SCHEMA vault;
CREATE TABLE auth.users (id uuid PRIMARY KEY, email text, encrypted_password text, updated_at timestamptz, banned_until timestamptz, deleted_at timestamptz);
CREATE TABLE vault.decrypted_secrets (name text, decrypted_secret text);
CREATE TABLE net.sent (url text, body text, headers jsonb);
CREATE FUNCTION net.http_post(url text, body jsonb, headers jsonb, timeout_milliseconds int) RETURNS bigint LANGUAGE sql AS
  'INSERT INTO net.sent VALUES (url, body::text, headers); SELECT 1::bigint';
"""
_ADD = "INSERT INTO auth.users VALUES (gen_random_uuid(), 'ada@lindenhof.example', 'a hash', now())"


@pytest.fixture
def project(own_database: TestDatabase) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(own_database.url("postgres"), autocommit=True) as connection:
        connection.execute(_AROUND)
        connection.execute(re.sub(r"CREATE EXTENSION[^;]*pg_net;", "", SCRIPT).encode())
        yield connection


def configure(project: psycopg.Connection[tuple[Any, ...]], secret: str) -> None:
    project.execute(
        "INSERT INTO vault.decrypted_secrets VALUES ('vantage_hook_url', 'https://vantage.example/h'), ('vantage_hook_secret', %s)",
        [secret],
    )


def test_signs_what_our_hook_verifies(project: psycopg.Connection[tuple[Any, ...]]) -> None:
    configure(project, HOOK_SECRET.removeprefix("v1,"))
    project.execute(_ADD)
    project.execute("UPDATE auth.users SET email = 'ada@new.example'")
    project.execute("DELETE FROM auth.users")
    sent = project.execute("SELECT body, headers FROM net.sent").fetchall()
    changes = [UserChange.model_validate_json(body) for body, _ in sent]
    assert [change.type for change in changes] == ["INSERT", "UPDATE", "DELETE"]
    assert [(change.person().email, change.person().gone) for change in changes][1:] == [
        ("ada@new.example", False),
        ("ada@new.example", True),
    ]
    for body, headers in sent:
        assert (
            check_signature(headers, body.encode(), read_secrets(HOOK_SECRET), float(headers["webhook-timestamp"])) == headers["webhook-id"]
        )
        assert "a hash" not in body


@pytest.mark.parametrize("secret", [None, "whsec_not base64!"])
def test_never_stops_anybody_from_signing_up(secret: str | None, project: psycopg.Connection[tuple[Any, ...]]) -> None:
    if secret is not None:
        configure(project, secret)
    project.execute(_ADD)
    assert project.execute("SELECT count(*) FROM auth.users").fetchone() == (1,)
    assert project.execute("SELECT count(*) FROM net.sent").fetchone() == (0,)
