"""How a service stands up and leaves: telemetry, database, HTTP door, Kafka door, duties — and back in reverse.

On SIGTERM: stop taking messages and finish the batch in hand, stop duties, finish open requests, close the
database, flush traces. Stopping twice is fine; being killed anywhere loses nothing that was acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping

import uvicorn
import uvloop
from fastapi import APIRouter

from libs.common import metrics
from libs.common.access import Access, follow_access
from libs.common.actions import ActionPlugin, discover, publish_catalogue
from libs.common.actions.performing import Performing
from libs.common.auth import Principal
from libs.common.db import TenancySigner, make_engine
from libs.common.duties import Duty, Run
from libs.common.http.app import Doorkeepers, make_app
from libs.common.http.debug import debug_routes
from libs.common.logging import get_logger
from libs.common.messaging.batches import Batches, is_outage
from libs.common.messaging.consumer import Consumer
from libs.common.messaging.kafka import KafkaDoor
from libs.common.messaging.redrive import Redrive
from libs.common.paging import Cursors
from libs.common.secrets import SecretBox
from libs.common.secrets.rotation import SealedColumn
from libs.common.settings import ServiceSettings
from libs.common.telemetry import start_telemetry
from libs.common.tokens import Issuer, KeySet, SharedSecret, TokenVerifier, house_issuer
from libs.common.work import Work
from libs.contracts import registry as _all_contracts  # noqa: F401 - makes every message type known
from libs.contracts.actions import ActionRequest, ActionResult
from libs.contracts.topics import topics_read_by

log = get_logger()

Hook = Callable[[], Awaitable[None]]
REDRIVE_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 75
"""How long a connection may rest. Longer than at the gateway (deploy/gateway/clusters.yaml), which must be the first to give it up."""


class Service:
    """One service, assembled by its ``app.build``. Nothing connects before ``serve``."""

    def __init__(self, name: str, settings: ServiceSettings) -> None:
        self.name = name
        self.settings = settings
        self.engine = make_engine(
            settings.database_url.get_secret_value(), application=name, pool=settings.database_pool, pooled=settings.database_pooled
        )
        self.work = Work(name, self.engine, TenancySigner(settings.tenancy_key.get_secret_value()))
        self.access = Access(self.work)
        self.box = SecretBox.local(settings.secrets_keys.get_secret_value())
        self.sealed: list[SealedColumn] = []
        self.app = make_app(name, work=self.work, keepers=self._keepers(), checks=self._checks)
        self.api(debug_routes(name, settings))
        self.consumer = Consumer(name)
        self.batches = Batches(self.consumer, self.work)
        self.redrive = Redrive(self.consumer, self.work, self.batches)
        self._kafka: KafkaDoor | None = None
        self._duties: dict[str, Duty] = {}
        self._plugins: list[ActionPlugin] = []
        self._hooks: list[tuple[Hook, Hook]] = []

    def _keepers(self) -> Doorkeepers:
        key = bytes.fromhex(self.settings.gateway_key.get_secret_value())
        return Doorkeepers(
            verifier=TokenVerifier(_identity_provider(self.settings), house_issuer(key)),
            access=self.access,
            cursors=Cursors(self.settings.cursor_key.get_secret_value()),
            box=self.box,
            gateway_proof=self.settings.gateway_proof.get_secret_value(),
        )

    def api(self, router: APIRouter) -> None:
        """Add routes to the HTTP door."""
        self.app.include_router(router)

    def consumes(self, subscribe: Callable[[Consumer], None]) -> None:
        """Register handlers; the topics follow from the switchboard. Who may act is followed besides."""
        subscribe(self.consumer)
        if not self.consumer.takes_everything:
            follow_access(self.consumer)
        topics = tuple(topic.name for topic in topics_read_by(self.name))
        self._kafka = KafkaDoor(self.settings.kafka, self.name, topics, self.batches)
        self.every(seconds=REDRIVE_SECONDS, run=self._redrive_due, name="redrive")

    def every(self, *, seconds: float, run: Run, name: str) -> None:
        """A periodic duty. It starts after the doors are open."""
        self._duties[name] = Duty(name, seconds, run)

    def wake(self, name: str) -> None:
        """Run a duty now instead of at its next time."""
        self._duties[name].wake()

    def offers(self, plugins: list[ActionPlugin]) -> None:
        """Actions this service performs; published to the catalogue at start when changed."""
        self._plugins = plugins

    def performs(
        self,
        request: type[ActionRequest],
        finished: type[ActionResult],
        *,
        tools: Mapping[str, object] | None = None,
        concurrency: int = 32,
        lookup_after_seconds: float = 60.0,
    ) -> Performing:
        """Offer every installed action that names this service as its owner; what is returned takes the requests.

        ``tools``: what handlers that leave the house may ask for by name.
        """
        plugins = discover(self.name)
        self.offers(plugins)
        performing = Performing(
            self.work, plugins, (request, finished), tools or {}, concurrency=concurrency, lookup_after_seconds=lookup_after_seconds
        )
        if performing.leave_the_house:
            self.background(performing.dispatcher.start, performing.dispatcher.stop)
            self.every(seconds=1.0, run=performing.recover, name="recovery")
        return performing

    def keeps_sealed(self, table: str, column: str, purpose: str) -> None:
        """Values of this column are sealed in the service's box for this purpose; a rotation of keys reaches them."""
        self.sealed.append(SealedColumn(table, column, purpose))

    def background(self, start: Hook, stop: Hook) -> None:
        """Something long-lived: started before the doors open, stopped after the Kafka door closed."""
        self._hooks.append((start, stop))

    async def _redrive_due(self) -> None:
        await self.redrive.due()

    async def _checks(self) -> dict[str, str]:
        found = {"database": "ok"}
        try:
            async with asyncio.timeout(2), self.work.batch([], Principal.platform(self.name)):
                pass  # it could begin and end a transaction
        except Exception as error:  # whatever it is, the answer is "not ready", with its class
            log.info("check.failed", exc_info=error)
            found["database"] = type(error).__name__
        if self._kafka is not None:
            found["kafka"] = "ok" if self._kafka.assigned else "rebalancing"
        return found

    async def serve(self) -> None:
        """Run until SIGTERM or SIGINT."""
        provider = start_telemetry(self.name, self.settings.otlp_endpoint)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        server = _Server(
            uvicorn.Config(
                self.app,
                self.settings.http_host,
                self.settings.http_port,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )
        try:
            await self._run(server, stop)
        finally:
            await self.engine.dispose()
            provider.shutdown()
            log.info("service.stopped")

    async def _run(self, server: _Server, stop: asyncio.Event) -> None:
        http = asyncio.create_task(server.serve())
        opening = asyncio.create_task(self._open())
        try:
            await _first(http, opening, stop)
            if not stop.is_set() and not http.done():
                log.info("service.started", port=self.settings.http_port)
                await _first(http, None, stop)
        finally:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            await self._close()
            server.should_exit = True
            await http

    async def _open(self) -> None:
        self._running = [asyncio.create_task(duty.forever()) for duty in self._duties.values()]
        for start, _ in self._hooks:
            await start()
        if self._plugins:
            await self._until_reached(self._publish)
        if self._kafka is not None:
            await self._kafka.start()

    async def _publish(self) -> None:
        await publish_catalogue(self.work, self._plugins)

    async def _until_reached(self, attempt: Hook) -> None:
        """The database may come up after us."""
        while True:
            try:
                await attempt()
            except Exception as error:
                if not is_outage(error):
                    raise
                metrics.BACKOFFS.inc()
                log.info("database.waiting", exc_info=error)
                await asyncio.sleep(0.5)
            else:
                return

    async def _close(self) -> None:
        if self._kafka is not None:
            await self._kafka.stop()
        for duty in self._duties.values():
            duty.stop()
        await asyncio.gather(*getattr(self, "_running", ()), return_exceptions=True)
        for _, stop in reversed(self._hooks):
            await stop()


def _identity_provider(settings: ServiceSettings) -> Issuer:
    if settings.jwt_secret is not None:
        secret = SharedSecret(settings.jwt_secret.get_secret_value().encode())
        return Issuer(settings.issuer, settings.audience, settings.jwt_algorithm, secret)
    assert settings.jwks_url is not None  # the settings have seen to it
    return Issuer(settings.issuer, settings.audience, settings.jwt_algorithm, KeySet(settings.jwks_url, settings.jwt_algorithm))


class _Server(uvicorn.Server):
    """Leaves the signals to us: the Kafka door closes before the HTTP door."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _first(http: asyncio.Task[None], opening: asyncio.Task[None] | None, stop: asyncio.Event) -> None:
    """Wait for the doors to be open (or, without ``opening``, for the end). A failed start is raised."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([task for task in (http, opening, stopping) if task is not None], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    if opening is not None and opening.done():
        opening.result()


def serve(service: Service) -> None:
    """Run a service to its end, on uvloop."""
    uvloop.run(service.serve())
