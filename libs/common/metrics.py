"""The one typed list of metrics every service exposes at ``/metrics``. Labels are few and low-cardinality."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

HTTP_REQUESTS = Counter("vantage_http_requests_total", "Answered requests.", ["method", "route", "status"])
HTTP_SECONDS = Histogram("vantage_http_request_seconds", "Time to answer a request.", ["route"], buckets=_SECONDS)
MESSAGES_HANDLED = Counter("vantage_messages_handled_total", "Messages whose handling was committed.", ["type"])
MESSAGES_SKIPPED = Counter(
    "vantage_messages_skipped_total", "Messages of a type this service does not care about, or seen before.", ["why"]
)
MESSAGES_PARKED = Counter("vantage_messages_parked_total", "Messages put aside.", ["reason"])
BATCH_SIZE = Histogram("vantage_batch_size", "Messages per batch.", buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500))
BATCH_SECONDS = Histogram("vantage_batch_seconds", "Time from batch received to commit.", buckets=_SECONDS)
MESSAGE_AGE_SECONDS = Histogram("vantage_message_age_seconds", "Age of a message when its handling is committed.", buckets=_SECONDS)
BACKOFFS = Counter("vantage_backoffs_total", "Times the consumer waited because something outside was down.")
PARKED_SUBJECTS = Gauge("vantage_parked_subjects", "Subjects that wait for a redrive.")
DUTY_FAILURES = Counter("vantage_duty_failures_total", "Periodic duties that failed and will be tried again.", ["duty"])
STUCK = Counter("vantage_stuck_total", "Work found standing still that somebody has to look at.", ["code"])
REPAIRED = Counter("vantage_repaired_total", "Work found standing still and put right.")
