"""Bodies as Retell sends them, its signature, and its simulator on a real port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from libs.testing.serving import serving
from libs.testing.simulators.retell import RetellSimulator

KEY = "key_of_a_practice_0123456789"
NUMBER = "+12025550100"
PATIENT_NUMBER = "+491701234567"
AGENT = "agent_reminders"
SETTINGS = {"api_key": KEY, "from_number": NUMBER, "agent_id": AGENT}
STARTED_MS = 1_798_000_000_000
TALK_MS = 15_791


def call(call_id: str, *, inbound: bool = False, **fields: Any) -> dict[str, Any]:
    ours, theirs = ("to_number", "from_number") if inbound else ("from_number", "to_number")
    return {
        "call_id": call_id, "call_type": "phone_call", "direction": "inbound" if inbound else "outbound", ours: NUMBER,
        theirs: PATIENT_NUMBER, "agent_id": AGENT, "agent_version": 3, "agent_name": "Reminder", "call_status": "ongoing",
        "start_timestamp": STARTED_MS, "latency": {"e2e": {"p50": 800}}, "opt_in_signed_url": False, **fields,
    }  # fmt: skip


def started(call_id: str, **fields: Any) -> dict[str, Any]:
    return {"event": "call_started", "event_timestamp": STARTED_MS, "call": call(call_id, **fields)}


def ended(call_id: str, **fields: Any) -> dict[str, Any]:
    over = {
        "call_status": "ended", "end_timestamp": STARTED_MS + TALK_MS, "duration_ms": TALK_MS, "disconnection_reason": "user_hangup",
        "transcript": "Agent: Hi, this is the practice.\nUser: Yes, I will come.\n", **fields,
    }  # fmt: skip
    return {"event": "call_ended", "event_timestamp": STARTED_MS + TALK_MS, "call": call(call_id, **over)}


def analyzed(call_id: str, **fields: Any) -> dict[str, Any]:
    analysis = {
        "call_summary": "The patient will come.", "user_sentiment": "Positive", "call_successful": True, "in_voicemail": False,
        "custom_analysis_data": {"wants_callback": False},
    }  # fmt: skip
    return {**ended(call_id, **{"call_analysis": analysis, **fields}), "event": "call_analyzed"}


def missed(call_id: str, **fields: Any) -> dict[str, Any]:
    """Nobody answered: it has no start, and was never said to have started."""
    body = ended(call_id, **{"call_status": "not_connected", "disconnection_reason": "dial_no_answer", **fields})
    for name in ("start_timestamp", "end_timestamp", "duration_ms", "transcript"):
        del body["call"][name]
    return body


@asynccontextmanager
async def running(state: Path) -> AsyncIterator[tuple[RetellSimulator, str]]:
    """The simulator and its URL."""
    simulator = RetellSimulator(state)
    async with serving(simulator.app()) as url:
        yield simulator, url
