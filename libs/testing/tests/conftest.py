"""Fixtures for the tests of the Supabase Auth simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from libs.testing.receiver import Receiver
from libs.testing.tests.auth_house import Hands, House


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
async def house(tmp_path: Path, hands: Hands) -> AsyncIterator[House]:
    house = House(tmp_path, hands)
    async with house.http:
        yield house


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()
