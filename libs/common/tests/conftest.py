"""The common library is tested on the schema of one service: tables, roles and row security are those of every service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from libs.common.messaging import Consumer
from libs.common.messaging.batches import Batches
from libs.common.messaging.redrive import Redrive
from libs.common.work import Work
from libs.contracts.envelope import Message
from libs.contracts.registry import MESSAGES
from libs.testing.postgres import TestDatabase

SERVICE = "patients"
THING = MESSAGES["vantage.patients.patient-record-viewed.v1"]
OTHER = MESSAGES["vantage.patients.patient-updated.v1"]


@pytest.fixture(scope="session")
def service_name() -> str:
    return SERVICE


def thing(subject: UUID | None = None, view: str = "record") -> Message:
    """A message about one subject. Order is kept per subject."""
    return THING.model_validate({"patient_id": subject or uuid4(), "view": view})


def other(subject: UUID, version: int = 2) -> Message:
    """A message of another type about the same subject."""
    return OTHER.model_validate(
        {"patient_id": subject, "version": version, "changed": [], "details": {"given_name": "Mira", "family_name": "Holm"}}
    )


class Door:
    """A consumer with its batches and its redrive, as a service has them."""

    def __init__(self, work: Work, subscribe: Callable[[Consumer], Any]) -> None:
        self.consumer = Consumer(SERVICE)
        subscribe(self.consumer)
        self.batches = Batches(self.consumer, work)
        self.redrive = Redrive(self.consumer, work, self.batches)


@pytest.fixture
def superuser(database: TestDatabase) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(database.url("postgres"), autocommit=True) as connection:
        yield connection
