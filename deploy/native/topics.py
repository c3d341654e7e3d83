"""Kafka topics as the switchboard declares them: created when missing, drift told, retention corrected."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from libs.contracts.topics import TOPICS, Topic


def _config(topic: Topic) -> dict[str, str]:
    if topic.compacted:
        return {"cleanup.policy": "compact"}
    assert topic.retention is not None
    return {"cleanup.policy": "delete", "retention.ms": str(int(topic.retention.total_seconds() * 1000))}


async def apply(bootstrap: str) -> list[str]:
    """Create what is missing and correct configurations; returns what was done. Partitions are never changed silently."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        existing = set(await client.list_topics())
        missing = [topic for topic in TOPICS if topic.name not in existing]
        if missing:
            await client.create_topics([NewTopic(topic.name, topic.partitions, 1, topic_configs=_config(topic)) for topic in missing])
        changed = [topic for topic in TOPICS if topic.name in existing and await _differs(client, topic)]
        for topic in changed:
            await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=_config(topic))])
        return [f"topic {t.name} created" for t in missing] + [f"topic {t.name} corrected" for t in changed]
    finally:
        await client.close()


async def drift(bootstrap: str) -> list[str]:
    """What differs from the switchboard."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        described = {topic["topic"]: topic for topic in await client.describe_topics()}
        found = [f"topic {topic.name} is missing" for topic in TOPICS if topic.name not in described]
        declared = {topic.name for topic in TOPICS}
        found += [f"topic {name} is not declared" for name in sorted(described) if name.startswith("vantage.") and name not in declared]
        for topic in TOPICS:
            if topic.name in described:
                partitions = len(described[topic.name]["partitions"])
                if partitions != topic.partitions:
                    found.append(f"topic {topic.name} has {partitions} partitions, {topic.partitions} are declared")
                if await _differs(client, topic):
                    found.append(f"topic {topic.name} is kept otherwise than declared")
        return found
    finally:
        await client.close()


async def _differs(client: AIOKafkaAdminClient, topic: Topic) -> bool:
    answers = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
    found = {entry[0]: entry[1] for answer in answers for resource in answer.resources for entry in resource[4]}
    return any(found.get(name) != value for name, value in _config(topic).items())
