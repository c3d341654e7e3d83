"""The one API reference is valid, complete, and its examples are taken by the services it describes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from libs.common.auth import Role
from libs.contracts.envelope import PLATFORM
from libs.contracts.permissions import GRANTS
from tests.architecture.doors import THINGS, Callers, Operation, operations, plant
from tools.generate.examples import EXAMPLES
from tools.openapi_lint import problems

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).resolve().parents[2] / "docs" / "openapi.json").read_text())
BY_NAME = {str(operation): operation for operation in operations()}
Fault = Callable[[dict[str, Any]], object]


def test_is_a_valid_openapi_document() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_has_every_operation_of_every_service() -> None:
    described = {f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == set(BY_NAME)


def test_pleases_the_lint() -> None:
    assert problems(DOCUMENT) == []


ME = ("/v1/me", "get")
PLANTS: list[tuple[str, Fault]] = [
    ("has no summary", lambda operation: operation.pop("summary")),
    ("has no sentence", lambda operation: operation.pop("description")),
    ("has no sentence", lambda operation: operation.update(description="whoever")),
    ("has no tag", lambda operation: operation.update(tags=[])),
    ("says not who may call it", lambda operation: operation.pop("x-permission")),
    ("asks for no proof", lambda operation: operation.update(security=[])),
    ("has no 401", lambda operation: operation["responses"].pop("401")),
    ("answers 403 otherwise than with a problem", lambda operation: operation["responses"].update({"403": {"description": "No."}})),
    ("has the id of another", lambda operation: operation.update(operationId="practices_get_users")),
    ("has no answer that is success", lambda operation: operation["responses"].pop("200")),
]


@pytest.mark.parametrize(("found", "fault"), PLANTS, ids=lambda part: part if isinstance(part, str) else "")
def test_the_lint_sees_a_planted_fault(found: str, fault: Fault) -> None:
    document = copy.deepcopy(DOCUMENT)
    fault(document["paths"][ME[0]][ME[1]])
    assert any(found in problem for problem in problems(document)), problems(document)


def test_the_lint_sees_a_body_without_an_example() -> None:
    document = copy.deepcopy(DOCUMENT)
    del document["paths"]["/v1/patients"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert problems(document) == ["POST /v1/patients: its body has no example"]


@pytest.mark.parametrize("name", EXAMPLES)
async def test_its_examples_are_taken(
    name: str, clients: dict[str, httpx.AsyncClient], callers: Callers, root: psycopg.Connection[tuple[Any, ...]]
) -> None:
    operation: Operation = BY_NAME[name]
    mine = uuid4()
    admin = operation.permission in GRANTS[Role.VANTAGE_ADMIN]
    sent = callers.person(operation.service, Role.VANTAGE_ADMIN if admin else Role.PRACTICE_ADMIN, PLATFORM if admin else mine)
    if operation.service == "practices":
        _practice(root, mine)
    values: dict[str, UUID] = {part: mine if part == "practice_id" else plant(root, part, mine) for part in operation.ids}
    assert set(operation.ids) <= {*THINGS, "practice_id"}
    body = EXAMPLES[name]
    if "workflows" in name:
        root.execute("INSERT INTO workflows.action VALUES ('send_email', %s, now()) ON CONFLICT DO NOTHING", [_SEND_EMAIL])
    answer = await clients[operation.service].request(operation.method, operation.at(values), json=body, headers=sent)
    if name == "POST /v1/practices/{practice_id}/entries":  # the caller is known to the door only
        assert answer.status_code == 403, answer.text
        return
    assert answer.status_code in {200, 201, 202, 404, 409}, answer.text
    if answer.status_code == 404:  # what is named is made up as rows, or nobody's; that the body was read is what counts
        assert operation.ids or operation.body_ids, answer.text


def _practice(root: psycopg.Connection[tuple[Any, ...]], practice: UUID) -> None:
    root.execute(
        "INSERT INTO practices.practice (practice_id, name, time_zone, version, created_at) VALUES (%s, 'x', 'UTC', 1, now())", [practice]
    )
    root.execute("INSERT INTO practices.directory (practice_id, name, created_at) VALUES (%s, 'x', now())", [practice])


_SEND_EMAIL = json.dumps(
    {
        "name": "send_email", "owner_service": "notifications", "title": "Send an e-mail", "help": "Sends it.", "idempotent": False, "lookup": True,
        "personal_data": ["email"], "result_schema": {"type": "object"}, "parameters_schema": {"type": "object"},
    }
)  # fmt: skip
