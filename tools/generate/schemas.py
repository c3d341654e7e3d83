"""JSON Schema (draft 2020-12) of every message type, as a reader of the topic should use it.

Unknown fields are allowed there, because within a version fields may be added; a producer of ours refuses them.
"""

from __future__ import annotations

import json
from typing import Any

from libs.contracts.envelope import Message, schema_uri
from libs.contracts.topics import topic_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(message: type[Message]) -> dict[str, Any]:
    """The published schema: what must be there is required, what we promise never to repeat is ``x-personal``."""
    body = _open(message.model_json_schema(mode="validation"))
    return {
        "$schema": DIALECT,
        "$id": schema_uri(message.type),
        "title": message.__name__,
        "description": _prose(message),
        "x-kind": message.kind,
        "x-owner": message.owner,
        "x-topic": topic_of(message).name,
        "x-subject": message.subject_template,
        **{key: value for key, value in body.items() if key not in {"title", "description"}},
    }


def schema_text(message: type[Message]) -> str:
    return json.dumps(schema_of(message), indent=2, ensure_ascii=False) + "\n"


def _prose(message: type[Message]) -> str:
    return " ".join((message.__doc__ or "").split())


def _open(node: Any) -> Any:
    if isinstance(node, list):
        return [_open(item) for item in node]
    if isinstance(node, dict):
        return {key: _open(value) for key, value in node.items() if not (key == "additionalProperties" and value is False)}
    return node
