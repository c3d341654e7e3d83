"""``docs/openapi.json``: the documents of all services as the one the gateway serves.

Each service describes its own operations; here they get what is the same everywhere: how callers prove themselves, the
problem documents every operation may answer, the idempotency key, examples. Schemas two services name alike keep apart.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from functools import cache
from typing import Any

from libs.common.http.routes import PERMISSION
from libs.contracts.topics import SERVICES
from tools.generate.examples import EXAMPLES

METHODS = ("get", "post", "put", "patch", "delete")
_KEY = hashlib.sha256(b"no key").hexdigest()
_ANYTHING = {
    "http_port": 1, "database_url": "postgresql://nobody@127.0.0.1:1/none", "kafka": "127.0.0.1:1", "tenancy_key": _KEY,
    "secrets_keys": f"none:{_KEY}", "cursor_key": _KEY, "gateway_key": _KEY, "gateway_proof": _KEY, "issuer": "https://issuer.vantage.example", "jwks_url": "http://127.0.0.1:1/",
}  # fmt: skip
_MORE = {
    "audit": {"ledger_signing_key": _KEY},
    "practices": {
        "auth_url": "http://127.0.0.1:1", "auth_service_key": "none", "site_url": "https://app.vantage.example",
        "hook_secrets": "v1,whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    },
}  # fmt: skip
_REPLACED = {"HTTPValidationError", "ValidationError"}
PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `code` is stable; `errors` points at fields by JSON pointer; nothing of the input is repeated.",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "trace_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    **{name: {"type": "string"} for name in ("pointer", "in", "code", "message", "step", "hint", "severity")},
                    "column": {"type": "integer"},
                },
                "required": ["pointer", "code", "message"],
            },
        },
    },
}
_SAID = {
    400: "The request cannot be read.", 401: "Who calls is not known.", 403: "The caller may not do this.",
    404: "No such thing for this caller.", 409: "It is already so, or was changed meanwhile.", 412: "It has another version by now.",
    413: "The body is too large.", 415: "Only JSON in UTF-8 is taken.", 422: "The input is not what this operation takes.",
    429: "Too many requests; Retry-After says when to come back.", 503: "Not right now; Retry-After says when to come back.",
}  # fmt: skip
_ALWAYS = (400, 401, 403, 422, 429, 503)
_IDEMPOTENCY = {
    "name": "Idempotency-Key", "in": "header", "required": False,
    "description": "The same key with the same request gets the same answer, for a day; with another request 422.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"},
}  # fmt: skip


@cache
def document_of(service: str) -> dict[str, Any]:
    """What a service says of itself."""
    settings = importlib.import_module(f"services.{service}.settings").Settings(**_ANYTHING, **_MORE.get(service, {}))
    found: dict[str, Any] = importlib.import_module(f"services.{service}.app").build(settings).app.openapi()
    return found


def text() -> str:
    return json.dumps(merged(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def merged() -> dict[str, Any]:
    documents = {service: document_of(service) for service in SERVICES}
    clashing = _clashes(documents)
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Problem": PROBLEM}
    for service, document in documents.items():
        own = _renamed(document, service, clashing)
        schemas |= {name: schema for name, schema in own["components"]["schemas"].items() if name not in _REPLACED}
        for path, operations in own["paths"].items():
            paths[path] = {method: _completed(operation, method, path, service) for method, operation in operations.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Vantage",
            "version": "1",
            "description": "A CRM for medical practices. Times are UTC (RFC 3339), errors are problem documents (RFC 9457).",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _schemes()},
    }


def _is_list(operation: dict[str, Any]) -> bool:
    """A list is empty, not missing."""
    found = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return str(found.get("$ref", "")).rpartition("/")[2].startswith("Page")


def _schemes() -> dict[str, Any]:
    return {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "Access token of Supabase Auth."},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "A practice's key, for its scopes."},
    }


def _clashes(documents: dict[str, Any]) -> set[str]:
    """Schema names that two services give to different things."""
    seen: dict[str, Any] = {}
    found = set()
    for document in documents.values():
        for name, schema in document["components"]["schemas"].items():
            if seen.setdefault(name, schema) != schema:
                found.add(name)
    return found


def _renamed(document: dict[str, Any], service: str, clashing: set[str]) -> dict[str, Any]:
    raw = json.dumps(document)
    for name in clashing:
        raw = raw.replace(f'"#/components/schemas/{name}"', f'"#/components/schemas/{service.title()}{name}"')
    found: dict[str, Any] = json.loads(raw)
    own = found["components"]["schemas"]
    found["components"]["schemas"] = {(f"{service.title()}{name}" if name in clashing else name): own[name] for name in own}
    return found


def _completed(operation: dict[str, Any], method: str, path: str, service: str) -> dict[str, Any]:
    parameters = operation.setdefault("parameters", [])
    protected = PERMISSION in operation
    if protected and method != "get":
        parameters.append(_IDEMPOTENCY)
    names = {parameter["name"].lower() for parameter in parameters}
    statuses = {*_ALWAYS}
    if "{" in path or not _is_list(operation):
        statuses.add(404)
    if method != "get":
        statuses |= {404, 409, 413}
    if "if-match" in names:
        statuses.add(412)
    if "requestBody" in operation or not protected:
        statuses |= {413, 415}
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status in sorted(statuses):
        operation["responses"][str(status)] = {"description": _SAID[status], "content": content}
    name = f"{method.upper()} {path}"
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None:
        body["example"] = EXAMPLES[name]
    operation["operationId"] = re.sub(r"[^a-z0-9]+", "_", f"{service}_{method}_{path.removeprefix('/v1')}".lower()).strip("_")
    return operation
