"""Structured logs: one JSON object a line on standard output, fields from an allow-list.

Promise: a field that is not on the list is replaced by its type name, so personal data cannot slip in by a careless
keyword; exceptions are logged as class and location, never with their text.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any

import structlog
from opentelemetry import trace

ALLOWED = frozenset(
    {
        "action", "attempt", "attempts", "batch", "checkpoint", "code", "correlation_id", "count", "duty", "effect_key", "event_id",
        "exception", "kind", "level", "location", "log", "method", "milliseconds", "offset", "outcome", "partition", "port",
        "practice_id", "reason", "route", "run_id", "seconds", "service", "size", "state", "status", "subject", "task", "time", "topic",
        "trace_id", "type", "event", "error_type", "workflow_id", "delivery_id", "message_id", "version",
    }
)  # fmt: skip


def start_logging(service: str, level: str) -> None:
    """Configure this process's logs, those of libraries included (warnings and worse, without their arguments)."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _add_trace,
            _render_exception,
            _redact,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = _LibraryHandler(level=logging.WARNING)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def get_logger(service: str = "") -> Any:
    """A logger whose events are constants (``message.parked``) and whose details are allowed fields."""
    return structlog.get_logger(**({"service": service} if service else {}))


def _add_trace(_: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        fields["trace_id"] = f"{context.trace_id:032x}"
    return structlog.contextvars.merge_contextvars(None, "", fields)


def _render_exception(_: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    error = fields.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        fields["exception"] = type(error).__name__
        fields["location"] = _location(error.__traceback__)
    return fields


def _location(trail: TracebackType | None) -> str:
    frames = traceback.extract_tb(trail)[-4:]
    return " < ".join(f"{frame.filename.rsplit('/', 2)[-1]}:{frame.lineno} {frame.name}" for frame in reversed(frames))


def _redact(_: Any, __: str, fields: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {name: value if name in ALLOWED else f"<{type(value).__name__}>" for name, value in fields.items()}


class _LibraryHandler(logging.Handler):
    """Sends a library's warning through our renderer: its template, never its arguments."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        get_logger().log(
            record.levelno, "library.warning", reason=str(record.msg)[:200], location=f"{record.name}:{record.lineno}", exc_info=error
        )
