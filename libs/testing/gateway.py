"""The real gateway in front of pretended services that keep what reaches them and answer what a test wants."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.native import gateway, state
from deploy.native.auth import AUDIENCE, ISSUER
from libs.contracts.topics import SERVICES
from libs.testing.probe import until

PROOF = "what only the gateway says"


class Passed(NamedTuple):
    """A request as it reached a service."""

    method: str
    target: str
    headers: httpx.Headers
    body: bytes


class Answer(NamedTuple):
    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b'{"ok": true}'


class Behind:
    """All services and the identity provider in one: the keys of tokens, the check of API keys, and everything else."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.passed: list[Passed] = []
        self.authorize: Callable[[Passed], Answer] = lambda _: Answer(
            401, {"content-type": "application/problem+json"}, b'{"code": "api_key_refused"}'
        )
        self.answer: Callable[[Passed], Answer] = lambda _: Answer()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.port: int = self._server.server_port

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, passed: Passed) -> Answer:
        if passed.target == "/.well-known/jwks.json":
            public = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
            return Answer(body=json.dumps({"keys": [{**public, "kid": "first", "alg": "ES256", "use": "sig"}]}).encode())
        if passed.target.startswith("/internal/authorize"):
            return self.authorize(passed)
        self.passed.append(passed)
        return self.answer(passed)

    def token(self, practice: UUID | None = None, *, key: ec.EllipticCurvePrivateKey | None = None, **claims: Any) -> str:
        now = datetime.now(UTC)
        body = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": str(uuid4()), "iat": now, "exp": now + timedelta(minutes=5), "role": "authenticated",
            "practice_id": str(practice or uuid4()), **claims,
        }  # fmt: skip
        return jwt.encode(body, key or self.key, algorithm="ES256", headers={"kid": "first"})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def _handler(behind: Behind) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            answer = behind.take(Passed(self.command, self.path, httpx.Headers(list(self.headers.items())), body))
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _any  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
            """A test says what matters."""

    return Handler


class Gate:
    """A running Envoy with the real configuration. ``changed`` values may be changed again: that is a reload."""

    def __init__(self, directory: Path, behind: Behind, changed: Mapping[str, str]) -> None:
        told = state.load(directory)
        ports = {**told.ports, **dict.fromkeys((*SERVICES, "auth"), behind.port)}
        self.state = replace(told, ports=ports)
        self._changed = dict(changed)
        self.boot = self.prepare()
        self.log = directory / "envoy.log"

    @property
    def url(self) -> str:
        return self.state.gateway

    @property
    def tls_url(self) -> str:
        return f"https://localhost:{self.state.ports['gateway_tls']}"

    @property
    def authority(self) -> Path:
        return self.boot.parent / "tls" / "ca.crt"

    def prepare(self, **changed: str) -> Path:
        self._changed |= changed
        return gateway.prepare(self.state, changed=self._changed)

    def stats(self, name: str) -> int:
        text = httpx.get(f"{self.state.http('gateway_admin')}/stats", params={"filter": f"^{name}$"}).text
        return int(text.rpartition(":")[2] or 0)

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.state.http('gateway_admin')}/ready").status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def gate(directory: Path, behind: Behind, **changed: str) -> Iterator[Gate]:
    """The gateway, until the block is left."""
    made = Gate(directory, behind, changed)
    with made.log.open("wb") as log:
        environment = {**os.environ, "VANTAGE_GATEWAY_PROOF": PROOF}
        process = subprocess.Popen(gateway.command(made.boot), stdout=log, stderr=log, env=environment)
        try:
            until(made.ready, what="the gateway being ready")
            yield made
        finally:
            process.kill()
            process.wait()
