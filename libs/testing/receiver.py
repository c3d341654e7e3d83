"""A small HTTP server on loopback that keeps what it is sent and answers what a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx


class Received(NamedTuple):
    body: bytes
    headers: httpx.Headers


class Answer(NamedTuple):
    """Status 0 cuts the connection; a negative one says nothing until the receiver is closed."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


class Receiver:
    """``answer`` is asked at every request, with the number of requests before it."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.answer: Callable[[int, Received], Answer] = lambda _number, _received: Answer(204)
        self._closed = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, received: Received) -> Answer:
        number = len(self.requests)
        self.requests.append(received)
        answer = self.answer(number, received)
        if answer.status < 0:
            self._closed.wait()
        return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers that do not wait for the answer are part of what is tested."""


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            answer = receiver.take(Received(body, httpx.Headers(dict(self.headers.items()))))
            if answer.status <= 0:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
            """A test says what matters."""

    return Handler
