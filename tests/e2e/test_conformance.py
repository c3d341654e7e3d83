"""The running system answers as its API reference says, whatever it is asked: Schemathesis, through the gateway.

Good and bad input for every operation; never a 5xx, never a status, a content type or a body that is not in the reference.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import content_type_conformance, not_a_server_error, response_schema_conformance, status_code_conformance

from deploy.demo.journey import Practice, set_up
from libs.contracts.permissions import GRANTS, Role
from libs.testing.stack import Stack
from tests.e2e.booking import ONE_MAIL

Schemas = dict[str, dict[str, Any]]


def without_groups_in_groups(schemas: Schemas) -> None:
    """What draws bad input from conditions that hold themselves comes to no end, and needs all memory. How deep they may go is other tests' matter."""
    for name, schema in schemas.items():
        for group in schema.get("properties", {}).values() if name.startswith(("AllOf", "AnyOf")) else ():
            group["items"]["oneOf"] = [one for one in group["items"]["oneOf"] if "Block" in one["$ref"]]


DOCUMENT: dict[str, Any] = json.loads((Path(__file__).resolve().parents[2] / "docs" / "openapi.json").read_text())
without_groups_in_groups(DOCUMENT["components"]["schemas"])
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 20


@pytest.fixture(scope="module")
def practice(stack: Stack) -> Practice:
    return set_up(stack.client, stack.state, workflow=ONE_MAIL)


def token_for(operation: dict[str, Any], stack: Stack, practice: Practice) -> dict[str, str]:
    """Headers of somebody who may call it."""
    permission = operation.get("x-permission")
    if permission is None:
        return {}
    admin = practice.admin if permission in GRANTS[Role.PRACTICE_ADMIN] else stack.client.vantage_admin().token
    return {"Authorization": f"Bearer {admin}"}


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=str)
def test_answers_as_the_reference_says(path: str, method: str, stack: Stack, practice: Practice) -> None:
    operation = SCHEMA[path][method.upper()]
    headers = token_for(DOCUMENT["paths"][path][method], stack, practice)

    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def ask(case: schemathesis.Case[Any]) -> None:
        # Entering nobody's practice: an entry is another test's matter.
        case.headers.pop("vantage-practice", None)
        case.headers.pop("Idempotency-Key", None)
        answer = case.call(base_url=stack.state.gateway, headers=headers)
        case.validate_response(answer, checks=CHECKS, headers=headers)
        if answer.status_code >= 400:
            assert answer.json()["code"]

    ask()


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=str)
def test_answers_nonsense_as_the_reference_says(path: str, method: str, stack: Stack, practice: Practice) -> None:
    operation = SCHEMA[path][method.upper()]
    headers = token_for(DOCUMENT["paths"][path][method], stack, practice)
    if not operation.body and not operation.query and not operation.path_parameters:
        return  # there is nothing to get wrong

    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: schemathesis.Case[Any]) -> None:
        case.headers.pop("vantage-practice", None)
        answer = case.call(base_url=stack.state.gateway, headers=headers)
        case.validate_response(answer, checks=CHECKS, headers=headers)

    ask()
