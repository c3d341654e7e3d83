"""Violations of every wall of the house. A wall that was never pushed proves nothing.

Each plant is one line in one file of a skeleton of this house and names the contract that must break.
"""

from __future__ import annotations

from typing import NamedTuple


class Plant(NamedTuple):
    contract: str
    path: str
    line: str


STRANGERS = "Services are strangers"
ROOMS = "Rooms of a service"
LIBS = "Libraries never look up"
LEAVES = "Contracts import Pydantic"
COMMON = "The common library knows the envelope"
PURE = "Rules are pure"
ONE_WAY = "Rules of workflows build on each other one way"
NO_SQL = "Doors and adapters speak no SQL"
NO_TRANSPORT = "Commands, queries and model speak no transport"
REACH_OUT = "Only adapters reach out"
ADAPTERS = "Adapters know only the rules' words"
SETTINGS = "Only app, __main__ and migrations read settings"
TESTING = "Test helpers stay in tests"
KNOCK = "End-to-end, chaos and bench tests import no service"
TOOLS = "Nobody imports tools or tests"

PLANTS = (
    Plant(STRANGERS, "services/patients/commands.py", "import services.scheduling.rules"),
    Plant(STRANGERS, "services/audit/app.py", "from services.workflows import queries"),
    Plant(ROOMS, "services/patients/rules.py", "from services.patients import model"),
    Plant(ROOMS, "services/patients/queries.py", "from services.patients import commands"),
    Plant(ROOMS, "services/patients/commands.py", "from services.patients import api"),
    Plant(ROOMS, "services/patients/api.py", "from services.patients import consumers"),
    Plant(ROOMS, "services/patients/commands.py", "from services.patients.adapters import vendor"),
    Plant(ROOMS, "services/patients/adapters/vendor.py", "from services.patients import commands"),
    Plant(ROOMS, "services/patients/timers.py", "from services.patients import app"),
    Plant(ROOMS, "services/patients/extras.py", ""),
    Plant(LIBS, "libs/common/work.py", "import services.patients.model"),
    Plant(LIBS, "libs/testing/postgres.py", "import tests.e2e"),
    Plant(LEAVES, "libs/contracts/patients.py", "import sqlalchemy"),
    Plant(LEAVES, "libs/contracts/envelope.py", "from libs.common import work"),
    Plant(LEAVES, "libs/contracts/topics.py", "import yaml"),
    Plant(COMMON, "libs/common/messaging/batches.py", "from libs.contracts import patients"),
    Plant(TESTING, "libs/common/service.py", "from libs.testing import postgres"),
    Plant(PURE, "services/patients/rules.py", "import asyncio"),
    Plant(PURE, "services/patients/rules.py", "from sqlalchemy import select"),
    Plant(PURE, "services/patients/rules.py", "import httpx"),
    Plant(PURE, "services/patients/rules.py", "from temporalio import workflow"),
    Plant(REACH_OUT, "services/patients/commands.py", "from temporalio.client import Client"),
    Plant(PURE, "services/patients/rules.py", "from libs.common.paging import Page"),
    Plant(PURE, "services/patients/rules.py", "from libs.common.clock import utc_now"),
    Plant(ONE_WAY, "services/workflows/rules/expressions/cel_cpp.py", "from services.workflows.rules.conditions import forms"),
    Plant(ONE_WAY, "services/workflows/rules/definitions/compiling.py", "from services.workflows.rules.runs import interpreter"),
    Plant(ONE_WAY, "services/workflows/rules/runs/interpreter.py", "from services.workflows.rules.simulation import running"),
    Plant(NO_SQL, "services/patients/api.py", "from sqlalchemy import text"),
    Plant(NO_SQL, "services/patients/consumers.py", "import asyncpg"),
    Plant(NO_SQL, "services/patients/adapters/vendor.py", "import psycopg"),
    Plant(NO_TRANSPORT, "services/patients/commands.py", "from fastapi import Request"),
    Plant(NO_TRANSPORT, "services/patients/queries.py", "import aiokafka"),
    Plant(NO_TRANSPORT, "services/patients/model.py", "from libs.common.http import door"),
    Plant(REACH_OUT, "services/patients/api.py", "import httpx"),
    Plant(REACH_OUT, "services/patients/commands.py", "import smtplib"),
    Plant(ADAPTERS, "services/patients/adapters/vendor.py", "from services.patients import queries"),
    Plant(ADAPTERS, "services/patients/adapters/vendor.py", "from services.patients import model"),
    Plant(SETTINGS, "services/patients/commands.py", "from services.patients.settings import Settings"),
    Plant(SETTINGS, "services/patients/api.py", "from services.patients import settings"),
    Plant(TESTING, "services/patients/commands.py", "from libs.testing import postgres"),
    Plant(TESTING, "libs/common/db.py", "import libs.testing.postgres"),
    Plant(KNOCK, "tests/e2e/test_journey.py", "from services.patients import model"),
    Plant(TOOLS, "services/patients/app.py", "from tools import walls"),
    Plant(TOOLS, "services/patients/commands.py", "from services.patients.tests import test_commands"),
)
