"""A load of bookings: many practices, Poisson arrivals or as fast as they are taken, signed webhooks through the gateway."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import aiohttp

from deploy.demo.journey import Practice
from libs.common.clock import monotonic, utc_now
from libs.testing.stack import Stack


@dataclass
class Sent:
    """When each booking's webhook was sent (epoch seconds), by the patient's e-mail address and its number."""

    at: dict[str, float] = field(default_factory=dict)
    refused: int = 0
    seconds: float = 0.0


def _webhook(practice: Practice, email: str) -> tuple[bytes, dict[str, str]]:
    uid = secrets.token_urlsafe(16)
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    payload = {
        "uid": uid, "iCalUID": f"{uid}@Cal.com", "iCalSequence": 0, "title": "First consult", "startTime": start.isoformat(),
        "endTime": (start + timedelta(minutes=30)).isoformat(), "organizer": {"id": secrets.randbelow(2**31), "timeZone": "Europe/Berlin"},
        "attendees": [{"email": email, "name": "Jonas Berg", "timeZone": "Europe/Berlin"}], "status": "ACCEPTED",
        "additionalNotes": "n" * 120, "metadata": {}, "eventTypeId": 7,
    }  # fmt: skip
    body = {"triggerEvent": "BOOKING_CREATED", "createdAt": utc_now().isoformat(), "payload": payload}
    raw = json.dumps(body).encode()
    signature = hmac.new(practice.calcom_secret.encode(), raw, hashlib.sha256).hexdigest()
    return raw, {"content-type": "application/json", "x-cal-signature-256": signature}


async def _one(session: aiohttp.ClientSession, stack: Stack, practice: Practice, email: str, sent: Sent) -> None:
    raw, headers = _webhook(practice, email)
    sent.at[email] = utc_now().timestamp()
    async with session.post(f"{stack.state.gateway}/webhooks/calcom/{practice.id}", data=raw, headers=headers) as answer:
        if answer.status != 204:
            sent.refused += 1


async def _open_loop(stack: Stack, people: list[tuple[Practice, str]], rate: float) -> Sent:
    sent = Sent()
    started = monotonic()
    async with aiohttp.ClientSession() as session:
        tasks = []
        for practice, email in people:
            await asyncio.sleep(random.expovariate(rate))
            tasks.append(asyncio.create_task(_one(session, stack, practice, email, sent)))
        await asyncio.gather(*tasks)
    sent.seconds = monotonic() - started
    return sent


async def _closed_loop(stack: Stack, people: list[tuple[Practice, str]], concurrency: int, seconds: float) -> Sent:
    sent = Sent()
    started = monotonic()
    waiting = iter(people)

    async def worker(session: aiohttp.ClientSession) -> None:
        while monotonic() - started < seconds:
            try:
                practice, email = next(waiting)
            except StopIteration:
                return
            await _one(session, stack, practice, email, sent)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:
        await asyncio.gather(*(worker(session) for _ in range(concurrency)))
    sent.seconds = monotonic() - started
    return sent


def poisson(stack: Stack, people: list[tuple[Practice, str]], rate: float) -> Sent:
    return asyncio.run(_open_loop(stack, people, rate))


def closed(stack: Stack, people: list[tuple[Practice, str]], concurrency: int, seconds: float) -> Sent:
    return asyncio.run(_closed_loop(stack, people, concurrency, seconds))
