"""Traces: W3C context in and out, one exporter, and spans that carry ids only.

Attributes are names, ids and numbers. Bodies, parameters, e-mail addresses and exception texts never become
attributes: ``record_exception`` is off, a failed span says the error's class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

tracer = trace.get_tracer("vantage")
_propagator = TraceContextTextMapPropagator()


@dataclass(frozen=True)
class Cause:
    """Why something happens: what the next message inherits. All fields may be empty."""

    correlation_id: str = ""
    causation_id: str = ""
    traceparent: str = ""
    tracestate: str = ""


NO_CAUSE = Cause()


def start_telemetry(service: str, otlp_endpoint: str | None) -> TracerProvider:
    """Install the tracer provider of this process. Without an endpoint spans are made (ids flow) but leave nowhere."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    if otlp_endpoint:
        exporter = OTLPSpanExporter(endpoint=otlp_endpoint.rstrip("/") + "/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
    trace.set_tracer_provider(provider)
    return provider


def context_of(traceparent: str, tracestate: str = "") -> Context:
    """The remote context a message or row carries; an empty or broken one gives a context without a parent."""
    if not traceparent:
        return Context()
    return _propagator.extract({"traceparent": traceparent, "tracestate": tracestate}, context=Context())


def traceparent_of(span: Span) -> str:
    """``traceparent`` (W3C Trace Context level 1) of a span; empty for an invalid one."""
    context = span.get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def current_traceparent() -> str:
    return traceparent_of(trace.get_current_span())


def outgoing_headers() -> dict[str, str]:
    """Headers that let an outside party join the current trace."""
    headers: dict[str, str] = {}
    _propagator.inject(headers)
    return headers


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: Context | None = None,
    links: list[Link] | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Iterator[Span]:
    """A span around a block; an exception marks it with its class name and goes on."""
    with tracer.start_as_current_span(
        name, context=parent, kind=kind, links=links, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except Exception as error:
            failed(current, error)
            raise


def failed(current: Span, error: BaseException) -> None:
    """Mark a span as failed without repeating the error's text."""
    current.set_attribute("error.type", type(error).__name__)
    current.set_status(Status(StatusCode.ERROR))


def link_to(traceparent: str, tracestate: str = "") -> list[Link]:
    """A link to another trace, for work that continues long after its cause; empty when there is none."""
    context = trace.get_current_span(context_of(traceparent, tracestate)).get_span_context()
    return [Link(context)] if context.is_valid else []
