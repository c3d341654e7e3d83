"""A practice's account at Cal.com, and its simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from libs.testing.serving import serving
from libs.testing.simulators.calcom import CalcomSimulator
from services.scheduling.tests.cal import SECRET

KEY = "cal_live_0123456789abcdef"
EVENT_TYPE = 7
SETTINGS = {"webhook_secret": SECRET, "api_key": KEY, "event_type_id": EVENT_TYPE}


@asynccontextmanager
async def running(state: Path) -> AsyncIterator[tuple[CalcomSimulator, str]]:
    """The simulator and its URL."""
    simulator = CalcomSimulator(state)
    async with serving(simulator.app()) as url:
        yield simulator, url
