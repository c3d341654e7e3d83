"""``docs/permissions.md``: who may call which operation, from the matrix and from what each operation declares."""

from __future__ import annotations

from collections import defaultdict

from libs.common.http.routes import PERMISSION, PUBLIC
from libs.contracts.permissions import ENTERED, GRANTS, SCOPES, Permission, Role
from libs.contracts.topics import SERVICES
from tools.generate.openapi import document_of

_COLUMNS = (
    ("Regular user", GRANTS[Role.REGULAR_USER]),
    ("Practice admin", GRANTS[Role.PRACTICE_ADMIN]),
    ("API key", SCOPES),
    ("Vantage admin", GRANTS[Role.VANTAGE_ADMIN]),
    ("… inside a practice", ENTERED),
)
_INTRODUCTION = """# Who may do what

Generated from `libs/contracts/permissions.py` and from what each operation declares; `make generate` writes it.

A person's role is looked up in our own records at every request; a token only says who they are. An API key has the
scopes it was given, each for itself (●: can be given). A Vantage admin is outside every practice until they open an
entry, with a reason and a time limit that the practice sees; inside, nothing they make may outlast the entry.

"""


def text() -> str:
    return _INTRODUCTION + _matrix() + "\n## Operations\n\n" + _operations() + "\n## Without a token\n\n" + _public()


def _matrix() -> str:
    head = "| Permission | " + " | ".join(name for name, _ in _COLUMNS) + " |\n|---|" + "---|" * len(_COLUMNS) + "\n"
    rows = [f"| `{one}` | " + " | ".join("●" if one in may else "" for _, may in _COLUMNS) + " |" for one in Permission]
    return head + "\n".join(rows) + "\n"


def _declared(mark: str) -> list[tuple[str, str, str]]:
    """What operations declare under a mark: the declaration, the operation, its summary."""
    return [
        (operation[mark], f"{method.upper()} {path}", operation.get("description", "").split("\n")[0])
        for service in SERVICES
        for path, methods in document_of(service)["paths"].items()
        for method, operation in methods.items()
        if mark in operation
    ]


def _operations() -> str:
    by_permission: dict[str, list[str]] = defaultdict(list)
    for permission, operation, summary in _declared(PERMISSION):
        by_permission[permission].append(f"| `{operation}` | `{permission}` | {summary} |")
    rows = [row for permission in Permission for row in by_permission[permission]]
    return "| Operation | Needs | |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _public() -> str:
    rows = [f"| `{operation}` | {reason} |" for reason, operation, _ in _declared(PUBLIC)]
    return "| Operation | Protected by |\n|---|---|\n" + "\n".join(rows) + "\n"
