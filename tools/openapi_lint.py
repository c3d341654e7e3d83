"""What the API reference owes its readers, operation by operation. Whether it is valid OpenAPI is asked elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")
_PROBLEM = "application/problem+json"


def problems(document: dict[str, Any]) -> list[str]:
    """Everything that is missing or wrong, one line each."""
    found = [
        f"{method.upper()} {path}: {problem}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for problem in _of_operation(operation)
    ]
    ids = Counter(operation["operationId"] for methods in document["paths"].values() for operation in methods.values())
    return found + [f"{name}: has the id of another" for name, count in ids.items() if count > 1]


def _of_operation(operation: dict[str, Any]) -> Iterator[str]:
    if not operation.get("summary"):
        yield "has no summary"
    if not operation.get("description", "").split("\n")[0].rstrip("`").endswith("."):
        yield "has no sentence"
    if len(operation.get("tags", [])) != 1:
        yield "has no tag, or several"
    if ("x-permission" in operation) == ("x-public" in operation):
        yield "says not who may call it"
    if ("x-permission" in operation) != bool(operation.get("security")):
        yield "asks for no proof of who calls, or for one it does not need"
    yield from _of_answers(operation)
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None and "example" not in body:
        yield "its body has no example"


def _of_answers(operation: dict[str, Any]) -> Iterator[str]:
    answers = operation["responses"]
    if not any(status.startswith("2") for status in answers):
        yield "has no answer that is success"
    for status in ("400", "401", "403", "429", "503"):
        if status not in answers:
            yield f"has no {status}"
    for status, answer in answers.items():
        if status.startswith(("4", "5")) and set(answer.get("content", {})) != {_PROBLEM}:
            yield f"answers {status} otherwise than with a problem"
