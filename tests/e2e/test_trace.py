"""One W3C trace from the HTTP request to the ledger entry; what follows a wait links to it."""

from __future__ import annotations

from deploy.demo.journey import BOOKED, book, set_up
from libs.testing.probe import until
from libs.testing.stack import Stack


class TestTheTraceOfABooking:
    def test_connects_every_hop_and_carries_no_personal_data(self, stack: Stack) -> None:
        practice = set_up(stack.client, stack.state)
        book(stack.client, stack.state, practice)
        stack.client.until(
            "the completed run",
            lambda: [run for run in stack.client.call("GET", "/v1/runs", practice.admin).json()["items"] if run["status"] == "completed"],
        )
        entries = until(
            lambda: stack.client.call("GET", "/v1/ledger/entries", practice.admin, params={"type": BOOKED}).json()["items"],
            what="the entry",
        )
        trace_id = entries[0]["entry"]["trace"]["traceparent"].split("-")[1]
        wanted = {
            ("scheduling", "POST /webhooks/calcom/{practice_id}"),
            ("workflows", "process vantage.scheduling.appointment-booked.v1"),
            ("audit", "process vantage.scheduling.appointment-booked.v1"),
            ("patients", "process vantage.scheduling.appointment-booked.v1"),
            ("notifications", "process vantage.notifications.perform-action.v1"),
            ("notifications", "POST /v3/mail/send"),
            ("workflows", "process vantage.notifications.action-finished.v1"),
            ("audit", "process vantage.notifications.action-finished.v1"),
        }
        seen = until(
            lambda: {(span.service, span.name) for span in stack.collector.trace(trace_id)}, lambda found: wanted <= found, what="the chain"
        )
        assert wanted <= seen
        spans = stack.collector.trace(trace_id)
        ids = {span.span_id for span in spans}
        roots = [span for span in spans if not span.parent_id]
        assert [(root.service, root.name) for root in roots] == [("scheduling", "POST /webhooks/calcom/{practice_id}")]
        assert all(span.parent_id in ids for span in spans if span.parent_id), "every span's parent is in the trace"
        later = until(lambda: stack.collector.linked_to(trace_id), what="the linked trace after the wait")
        assert {span.name for span in later} >= {"timer fired"}
        assert not any(practice.patient_email in text or "Jonas" in text for text in stack.collector.texts())
