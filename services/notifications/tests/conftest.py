"""The service under test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from libs.common.service import Service
from services.notifications.app import build
from services.notifications.settings import Settings


@pytest.fixture(scope="session")
def service_name() -> str:
    return "notifications"


@pytest.fixture(scope="session")
def service(settings_for: Callable[..., Any]) -> Service:
    return build(settings_for(Settings))
