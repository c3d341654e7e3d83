"""E-mail keys of practices come under a new key by one command, and e-mail goes on meanwhile."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from libs.common.auth import Principal
from libs.common.db import TenancySigner, make_engine
from libs.common.secrets import SecretBox
from libs.common.work import Work
from libs.testing.postgres import TENANCY_KEY, TestDatabase
from libs.testing.rotation import NEW, OLD, Operator, version_1
from services.notifications.app import build
from services.notifications.commands.settings import PURPOSE, ConfigureEmail, configure_email
from services.notifications.settings import Settings
from services.notifications.tests.provider import SETTINGS
from services.notifications.tests.test_adapters import KEY
from services.notifications.tests.test_rules import spki

API_KEY = ("email_settings", "api_key")


@pytest.fixture
def operator(own_database: TestDatabase, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator("notifications", Settings, build, own_database, capsys, monkeypatch)


@pytest.fixture
async def own_work(own_database: TestDatabase) -> AsyncIterator[Work]:
    engine = make_engine(own_database.app("notifications"), application="test")
    yield Work("notifications", engine, TenancySigner(TENANCY_KEY))
    await engine.dispose()


async def configured(work: Work, box: SecretBox, api_key: str) -> UUID:
    """A new practice with this key, stored as the API stores it."""
    practice = uuid4()
    async with work(Principal.system("test", practice)) as tx:
        await configure_email(ConfigureEmail.model_validate({**SETTINGS, "webhook_key": spki(KEY), "api_key": api_key}), box, tx)
    return practice


async def test_a_rotation_brings_every_practices_key_under_the_new_one(operator: Operator, own_work: Work) -> None:
    before = SecretBox.local(OLD)
    keys = {await configured(own_work, before, f"SG.key-of-practice-{number}"): f"SG.key-of-practice-{number}" for number in range(3)}
    older, newer = await configured(own_work, before, "SG.to-be-replaced"), await configured(own_work, SecretBox.local(NEW), "SG.new-comer")
    operator.sql("UPDATE email_settings SET api_key = %s WHERE practice_id = %s", version_1(older, PURPOSE, "SG.from-version-1"), older)
    keys |= {older: "SG.from-version-1", newer: "SG.new-comer"}

    assert await operator.secrets("status", f"{NEW},{OLD}") == (0, "(version 1)\t1\told\n2025\t3\told\n2026\t1\tcurrent\n")
    assert await operator.secrets("rotate", f"{NEW},{OLD}") == (0, "4 re-wrapped, 0 not under the current key\n")
    assert await operator.secrets("rotate", f"{NEW},{OLD}") == (0, "0 re-wrapped, 0 not under the current key\n")
    assert await operator.secrets("status", NEW) == (0, "2026\t5\tcurrent\n")
    after = SecretBox.local(NEW)
    stored = operator.sql("SELECT practice_id, api_key FROM email_settings")
    assert {practice: after.open(practice, PURPOSE, sealed) for practice, sealed in stored} == keys


async def test_what_no_listed_key_opens_is_left_as_it_is_and_told(operator: Operator, own_work: Work) -> None:
    await configured(own_work, SecretBox.local(OLD), "SG.under-the-old-key")
    broken = await configured(own_work, SecretBox.local(OLD), "SG.to-be-broken")
    operator.sql("UPDATE email_settings SET api_key = 'plain text' WHERE practice_id = %s", broken)

    assert await operator.secrets("rotate", NEW) == (1, "0 re-wrapped, 2 not under the current key\n")
    assert await operator.secrets("rotate", f"{NEW},{OLD}") == (1, "1 re-wrapped, 1 not under the current key\n")
    assert await operator.secrets("status", NEW) == (0, "(not a sealed value)\t1\told\n2026\t1\tcurrent\n")
    assert operator.sql("SELECT api_key FROM email_settings WHERE practice_id = %s", broken) == [(b"plain text",)]


async def test_practices_that_were_there_before_the_list_of_them_are_found(operator: Operator, own_work: Work) -> None:
    migration = importlib.import_module("services.notifications.migrations.versions.0003_sealed_values")
    operator.start_from(migration.down_revision)
    before = await configured(own_work, SecretBox.local(OLD), "SG.from-before")
    operator.migrate()
    after = await configured(own_work, SecretBox.local(OLD), "SG.from-after")
    assert {row[0] for row in operator.sql("SELECT practice_id FROM sealed_practice")} == {before, after}
    assert await operator.secrets("rotate", f"{NEW},{OLD}") == (0, "2 re-wrapped, 0 not under the current key\n")
    assert operator.under(API_KEY) == {"2026": 2}
