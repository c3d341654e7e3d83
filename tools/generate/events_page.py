"""``docs/events.md``: the switchboard for people, with the flow between services as a picture."""

from __future__ import annotations

from typing import Any

from libs.contracts.envelope import Message
from libs.contracts.topics import SERVICES, TOPICS, Topic
from tools.generate.asyncapi import HEADERS, REQUIRED, on_topic
from tools.generate.schemas import schema_of

_HEAD = """# What services say

Generated from `libs/contracts` by `make generate`; do not edit. The same, for machines: `libs/contracts/asyncapi.yaml`,
`libs/contracts/schemas/` (JSON Schema, one file per type) and `libs/contracts/examples/` (one message per type).

Every message is a CloudEvent 1.0 in Kafka's binary mode: the value is JSON, the envelope is in the headers. The key is the practice
id, so everything of a practice arrives in commit order; the catalogue is keyed by what it describes and compacted. Within a
version only optional fields are added: readers ignore fields they do not know. Fields marked **personal** identify or describe
a person; they are left out of the timeline, the ledger and every log.
"""


def text() -> str:
    parts = [_HEAD, _flow(), _envelope(), *(_topic(topic) for topic in TOPICS)]
    return "\n".join(parts)


def _flow() -> str:
    lines = ["## Who tells whom", "", "```mermaid", "flowchart LR"]
    lines += [f"  {service}([{service}])" for service in SERVICES]
    for topic in TOPICS:
        node = topic.name.removeprefix("vantage.").replace(".", "_")
        lines.append(f"  {node}[/{topic.name}/]")
        lines += [f"  {writer} --> {node}" for writer in topic.writers]
        lines += [f"  {node} --> {reader}" for reader in topic.readers if reader != "audit"]
    lines += ["```", "", "`audit` reads every topic; its arrows are left out of the picture.", ""]
    return "\n".join(lines)


def _envelope() -> str:
    lines = ["## Headers", "", "| Header | Meaning |", "| --- | --- |"]
    lines += [f"| `{name}`{' (required)' if name in REQUIRED else ''} | {_cell(prose)} |" for name, (_, prose) in HEADERS.items()]
    return "\n".join([*lines, ""])


def _topic(topic: Topic) -> str:
    kept = "compacted: the newest message per key" if topic.compacted else f"{topic.retention.days if topic.retention else 0} days"
    partitions = "1 partition" if topic.partitions == 1 else f"{topic.partitions} partitions"
    lines = [
        f"## `{topic.name}`",
        "",
        f"Owner: {topic.owner}. Written by {', '.join(topic.writers)}; read by {', '.join(topic.readers)}. {partitions}, kept {kept}.",
        "",
    ]
    messages = on_topic(topic)
    if not messages:
        return "\n".join([*lines, "No message type yet.", ""])
    lines += ["| Message | Subject | Meaning |", "| --- | --- | --- |"]
    lines += [f"| [`{m.__name__}`](#{_anchor(m)}) | `{m.subject_template}` | {_cell(_first(m))} |" for m in messages]
    return "\n".join([*lines, "", *(_message(message) for message in messages)])


def _message(message: type[Message]) -> str:
    schema = schema_of(message)
    required = schema.get("required", [])
    lines = [f"### {message.type}", "", schema["description"], "", "| Field | Type | |", "| --- | --- | --- |"]
    for name, field in schema["properties"].items():
        marks = [mark for mark, holds in (("optional", name not in required), ("**personal**", field.get("x-personal"))) if holds]
        lines.append(f"| `{name}` | {_type(field, schema)} | {', '.join(marks)} |")
    return "\n".join([*lines, ""])


def _first(message: type[Message]) -> str:
    return str(schema_of(message)["description"]).split(". ")[0].rstrip(".") + "."


def _anchor(message: type[Message]) -> str:
    return message.type.replace(".", "")


def _type(field: dict[str, Any], schema: dict[str, Any]) -> str:
    """A short name for a field's type: ``uuid``, ``date-time``, ``one of a, b``, ``list of uuid``, ``Attendee``."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        target = schema["$defs"][name]
        return _type(target, schema) if "enum" in target else f"{name} ({', '.join(target.get('properties', {}))})"
    if "anyOf" in field:
        return " or ".join(_type(option, schema) for option in field["anyOf"])
    if "enum" in field:
        return "one of " + ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}), schema)}"
    return str(field.get("format") or field.get("type", "any"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
