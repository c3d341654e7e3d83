"""The service under test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from libs.common.service import Service
from services.audit.app import build
from services.audit.settings import Settings

SEED = "07" * 32


@pytest.fixture(scope="session")
def service_name() -> str:
    return "audit"


@pytest.fixture(scope="session")
def service(settings_for: Callable[..., Any]) -> Service:
    return build(settings_for(Settings, ledger_signing_key=SEED))
