"""What Connect does not do for itself: failed tasks are restarted with growing pauses, and trouble is said aloud.

Watches the connector's tasks and the replication slot. Raises its voice (error lines) after repeated failures and when
the slot holds back too much WAL: both mean that events do not leave the outboxes.
"""

from __future__ import annotations

import time

import httpx
import psycopg

from deploy.native import database
from deploy.native.backbone import Backbone
from deploy.native.connect import ConnectFailed, connector_name
from libs.common.logging import get_logger, start_logging

log = get_logger()

PERIOD_SECONDS = 3.0
LOUD_AFTER = 5
PAUSE_LIMIT_SECONDS = 60.0
SLOT_LAG_LIMIT_BYTES = 512 * 1024 * 1024


class Watchdog:
    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self.failures = 0

    def forever(self) -> None:
        start_logging("watchdog", "info")
        while True:
            time.sleep(self.round())

    def round(self) -> float:
        """One look; returns the seconds until the next."""
        try:
            name = connector_name(database.system_identifier(self._backbone.state))
            self._check_slot()
            if self._backbone.connect_client.running(name):
                self.failures = 0
                return PERIOD_SECONDS
            self.failures += 1
            level = log.error if self.failures >= LOUD_AFTER else log.warning
            level("connector.restarted", attempts=self.failures)
            self._backbone.connect_client.restart_failed(name)
        except (httpx.HTTPError, ConnectFailed, psycopg.Error) as error:
            log.info("watchdog.waiting", exc_info=error)
            return PERIOD_SECONDS
        return min(PERIOD_SECONDS * float(1 << min(self.failures, 10)), PAUSE_LIMIT_SECONDS)

    def _check_slot(self) -> None:
        lag = database.slot_lag_bytes(self._backbone.state)
        if lag is None:
            log.error("slot.missing")
        elif lag > SLOT_LAG_LIMIT_BYTES:
            log.error("slot.lagging", size=lag)
