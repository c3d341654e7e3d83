"""A Kafka broker in a directory: its configuration, its formatted storage, the command that runs it."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.native.artifacts import java_command
from deploy.render import DEPLOY, write
from libs.common.clock import monotonic

LOG4J = DEPLOY / "kafka" / "log4j2.properties"


class Broker:
    def __init__(self, directory: Path, cache: Path, *, port: int, controller_port: int, cluster_id: str) -> None:
        self.directory = directory
        self._cache = cache
        self.port = port
        self._controller_port = controller_port
        self._cluster_id = cluster_id

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def _properties(self) -> Path:
        return self.directory / "server.properties"

    def prepare(self) -> None:
        """Write the configuration and format the storage once."""
        values = {
            "KAFKA_HOST": "127.0.0.1", "KAFKA_BIND": "127.0.0.1", "KAFKA_PORT": str(self.port),
            "KAFKA_CONTROLLER_PORT": str(self._controller_port), "KAFKA_DATA": str(self.directory / "data"),
        }  # fmt: skip
        write("kafka/server.properties", values, self._properties)
        if (self.directory / "data" / "meta.properties").exists():
            return
        arguments = ["format", "--standalone", "-t", self._cluster_id, "-c", str(self._properties), "--ignore-formatted"]
        command = java_command(self._cache, "kafka.tools.StorageTool", arguments, log4j=LOG4J, fast_start=True)
        subprocess.run(command, check=True, capture_output=True)

    def command(self) -> list[str]:
        archive = self._cache / "cds" / "kafka.jsa"
        return java_command(self._cache, "kafka.Kafka", [str(self._properties)], log4j=LOG4J, archive=archive, fast_start=True)


async def until_ready(bootstrap: str, within: float = 60.0) -> None:
    """Wait until the controller answers, not only the port: topics can be listed and the cluster described."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # refused connections are what we wait through
    deadline = monotonic() + within
    while True:
        client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=3000)
        try:
            await client.start()
            if (await client.describe_cluster())["brokers"]:
                return
        except (KafkaError, OSError, AttributeError, IndexError):
            if monotonic() > deadline:
                raise
        finally:
            await client.close()
        await asyncio.sleep(0.1)
