"""An OTLP/HTTP collector in memory: what a test asserts traces on."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class SeenSpan:
    """One exported span; ids in hex."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[str, ...]
    attributes: dict[str, str]


class Collector:
    """Listens on a free port of loopback until ``stop``."""

    def __init__(self) -> None:
        self._spans: list[SeenSpan] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.take(body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            names = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
            for scope in resource.scope_spans:
                self._spans += [
                    SeenSpan(
                        service=names.get("service.name", ""), name=span.name, trace_id=span.trace_id.hex(), span_id=span.span_id.hex(),
                        parent_id=span.parent_span_id.hex(), links=tuple(link.trace_id.hex() for link in span.links),
                        attributes={attribute.key: attribute.value.string_value for attribute in span.attributes},
                    )
                    for span in scope.spans
                ]  # fmt: skip

    def trace(self, trace_id: str) -> list[SeenSpan]:
        return [span for span in list(self._spans) if span.trace_id == trace_id]

    def linked_to(self, trace_id: str) -> list[SeenSpan]:
        """Spans of other traces that link to this one."""
        return [span for span in list(self._spans) if trace_id in span.links]

    def texts(self) -> list[str]:
        """Every name and attribute seen, to search for what must not be there."""
        return [text for span in list(self._spans) for text in (span.name, *span.attributes.values())]
