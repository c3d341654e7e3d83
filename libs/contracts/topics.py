"""The switchboard: every topic, who writes it, who reads it, how it is kept. The only list there is.

Kafka topics, connector routes, consumer subscriptions, AsyncAPI and ``docs/events.md`` are derived from here.
Every topic is keyed by practice id, so everything of a practice is in one partition, in commit order; the
catalogue is keyed by action name and compacted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from libs.contracts.envelope import Kind, Message

SERVICES = ("practices", "patients", "scheduling", "workflows", "notifications", "audit")
"""Every service of the house, in the order of the README."""

PARTITIONS = 6
RETENTION = timedelta(days=7)


@dataclass(frozen=True)
class Topic:
    """One Kafka topic. ``retention`` is None for a compacted topic."""

    name: str
    kind: Kind
    owner: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    partitions: int = PARTITIONS
    retention: timedelta | None = RETENTION
    compacted: bool = False


def _events(owner: str, *readers: str) -> Topic:
    return Topic(f"vantage.{owner}.events", "event", owner, (owner,), (*readers, "audit"))


def _commands(owner: str, *writers: str) -> Topic:
    return Topic(f"vantage.{owner}.commands", "command", owner, writers, (owner, "audit"))


CATALOGUE = Topic(
    name="vantage.workflows.catalogue",
    kind="description",
    owner="workflows",
    writers=("patients", "scheduling", "workflows", "notifications"),
    readers=("workflows", "audit"),
    partitions=1,
    retention=None,
    compacted=True,
)

TOPICS: tuple[Topic, ...] = (
    # Who may act is known to every service by itself: nobody asks practices.
    _events("practices", "patients", "scheduling", "workflows", "notifications"),
    _events("patients", "patients", "scheduling", "workflows", "notifications"),
    _events("scheduling", "patients", "scheduling", "workflows"),
    _events("workflows", "patients", "workflows"),
    _events("notifications", "patients", "scheduling", "workflows"),
    _events("audit"),
    _commands("patients", "workflows"),
    _commands("scheduling", "workflows"),
    _commands("workflows", "workflows"),
    _commands("notifications", "workflows"),
    CATALOGUE,
)

_BY_KIND = {(topic.kind, topic.owner): topic for topic in TOPICS}


def topic_of(message: type[Message]) -> Topic:
    """The one topic a message class travels on. Raises ``LookupError`` for a class without one."""
    try:
        return _BY_KIND[message.kind, message.owner]
    except KeyError:
        text = f"{message.type}: no topic for a {message.kind} of {message.owner}"
        raise LookupError(text) from None


def topics_read_by(service: str) -> tuple[Topic, ...]:
    """What a service subscribes to."""
    return tuple(topic for topic in TOPICS if service in topic.readers)


def writers_of(service: str) -> tuple[Topic, ...]:
    """What a service may write to."""
    return tuple(topic for topic in TOPICS if service in topic.writers)
