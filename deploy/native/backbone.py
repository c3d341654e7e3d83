"""Postgres, Kafka and Connect as declared, on servers that run already: natively or in containers.

Starts and stops nothing; needs none of the server programs on this machine. Every step can be repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from deploy.native import connect as connects
from deploy.native import database, migrations, topics
from deploy.native.connect import ConnectClient
from deploy.native.state import State

Say = Callable[[str], None]


class Backbone:
    def __init__(self, state: State, *, say: Say = print) -> None:
        self.state = state
        self._say = say
        self.connect_client = ConnectClient(state.http("connect"), state.kafka_cluster_id)

    def declare_database(self) -> None:
        """Roles, schemas, tenancy key, tables, publication and slot: before the first write."""
        database.bootstrap(self.state)
        migrations.run(self.state)
        database.publish(self.state)

    def apply(self) -> None:
        """Roles, schemas, publication, topics and connector as declared, on a running backbone."""
        self.declare_database()
        self.declare_topics()
        self.connector()

    def declare_topics(self) -> None:
        """Topics as the switchboard has them."""
        for line in asyncio.run(topics.apply(self.state.address("kafka"))):
            self._say(f"  {line}")

    def connector(self) -> None:
        """The connector as declared; offsets from another life of the database are dropped, and that is said."""
        identifier = database.system_identifier(self.state)
        name = connects.connector_name(identifier)
        self.connect_client.apply(name, self._connector_config(identifier))
        stored, current = self.connect_client.stored_lsn(name), database.current_lsn(self.state)
        if stored is not None and stored > current:
            self._say(f"  Postgres is at WAL position {current}, Connect had read up to {stored}: an older database was put in place.")
            self._say("  Connect's position is dropped; it goes on from the replication slot.")
            self.connect_client.forget_offsets(name)

    def drift(self) -> list[str]:
        """What differs from what is declared."""
        found = database.drift(self.state) + asyncio.run(topics.drift(self.state.address("kafka")))
        identifier = database.system_identifier(self.state)
        name = connects.connector_name(identifier)
        wanted = self._connector_config(identifier)
        configured = self.connect_client.config(name)
        if configured is None:
            found.append(f"connector {name} is missing")
        elif configured != wanted:
            keys = sorted(key for key in wanted.keys() | configured.keys() if wanted.get(key) != configured.get(key))
            found.append(f"connector {name} differs in {', '.join(keys)}")
        return found

    def _connector_config(self, identifier: str) -> dict[str, str]:
        return connects.connector_config(identifier, self.state.host("postgres"), self.state.ports["postgres"])
