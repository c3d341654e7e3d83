"""What could lose events silently is noticed and mended; what drifts from its declaration is told and corrected."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.demo.journey import book, set_up
from deploy.native import database
from deploy.native.connect import connector_name
from libs.testing.probe import until
from libs.testing.stack import Stack
from tests.e2e.booking import ONE_MAIL, mails_to


class TestAnOlderDatabaseUnderNewOffsets:
    def test_is_noticed_and_nothing_is_lost(self, stack: Stack) -> None:
        practice = set_up(stack.client, stack.state, workflow=ONE_MAIL)
        name = connector_name(database.system_identifier(stack.state))
        connect = stack.system.connect_client
        until(lambda: connect.stored_lsn(name), what="a stored offset")
        connect.call("PUT", f"/connectors/{quote(name)}/stop")
        until(lambda: connect.call("GET", f"/connectors/{quote(name)}/status")["connector"]["state"] == "STOPPED", what="stopping")
        entry = connect.call("GET", f"/connectors/{quote(name)}/offsets")["offsets"][0]
        ahead = {
            key: value + 10**12 if key.startswith("lsn") and isinstance(value, int) else value for key, value in entry["offset"].items()
        }
        connect.call("PATCH", f"/connectors/{quote(name)}/offsets", {"offsets": [{"partition": entry["partition"], "offset": ahead}]})
        connect.call("PUT", f"/connectors/{quote(name)}/resume")
        connect.until_running(name)
        book(stack.client, stack.state, practice)
        stored = connect.stored_lsn(name)
        assert stored is not None
        assert stored > database.current_lsn(stack.state)

        stack.system.connector()

        stack.client.until("the e-mail", lambda: mails_to(stack, [practice.patient_email]).total() == 1, within=60)
        stack.drained()
        assert stack.reconcile().returncode == 0


class TestDrift:
    def test_a_running_system_shows_none_and_coming_up_again_changes_nothing(self, stack: Stack) -> None:
        pids = {name: info["pid"] for name, info in stack.system.supervisor.states().items()}
        stack.system.up()
        assert stack.system.drift() == []
        assert {name: info["pid"] for name, info in stack.system.supervisor.states().items()} == pids

    def test_a_changed_topic_is_told_and_corrected(self, stack: Stack) -> None:
        async def shorten() -> None:
            client = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{stack.state.ports['kafka']}")
            await client.start()
            changed = ConfigResource(ConfigResourceType.TOPIC, "vantage.patients.events", configs={"retention.ms": "1000000"})
            await client.alter_configs([changed])
            await client.close()

        asyncio.run(shorten())
        assert stack.system.drift() == ["topic vantage.patients.events is kept otherwise than declared"]
        stack.system.apply()
        assert stack.system.drift() == []

    def test_a_changed_connector_and_publication_are_told_and_corrected(self, stack: Stack) -> None:
        name = connector_name(database.system_identifier(stack.state))
        config = stack.system.connect_client.config(name)
        assert config is not None
        stack.system.connect_client.call("PUT", f"/connectors/{quote(name)}/config", {**config, "poll.interval.ms": "50"})
        assert stack.system.drift() == [f"connector {name} differs in poll.interval.ms"]
        stack.system.apply()
        assert stack.system.drift() == []
        stack.sql("ALTER PUBLICATION outbox_pub DROP TABLE practices.outbox")
        assert stack.system.drift() == ["publication lacks practices.outbox"]
        stack.system.apply()
        assert stack.system.drift() == []


class TestTheWatchdog:
    def test_starts_a_failed_task_again(self, stack: Stack) -> None:
        stack.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        name = connector_name(database.system_identifier(stack.state))
        until(lambda: stack.system.connect_client.running(name), what="the connector running again")
        practice = set_up(stack.client, stack.state, workflow=ONE_MAIL)
        book(stack.client, stack.state, practice)
        stack.client.until("the e-mail", lambda: mails_to(stack, [practice.patient_email]).total() == 1, within=60)
