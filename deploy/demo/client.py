"""Knocks on the doors a practice, a patient and the providers use: the gateway and the simulators, nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx

from deploy.native.state import State
from libs.common.clock import monotonic


class DemoFailed(RuntimeError):
    """A hop did not happen; the text says which and what was seen instead."""


class Client:
    """One installation, called as its users call it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._http = httpx.Client(timeout=30.0, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def token(self, role: str, practice_id: str | None = None, *, subject: str | None = None) -> str:
        """An access token from the development issuer."""
        body = {"sub": subject or str(uuid4()), "vantage_role": role, "practice_id": practice_id}
        answer = self._http.post(f"{self._state.http('issuer')}/token", json=body)
        text: str = answer.raise_for_status().json()["access_token"]
        return text

    def call(self, method: str, path: str, token: str, body: object = None, *, params: dict[str, Any] | None = None) -> httpx.Response:
        """Through the gateway. Raises ``DemoFailed`` for anything but success."""
        headers = {"Authorization": f"Bearer {token}"}
        answer = self._http.request(method, self._state.gateway + path, headers=headers, json=body, params=params)
        if not answer.is_success:
            raise DemoFailed(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer

    def simulator(self, name: str, method: str, path: str, body: object = None) -> Any:
        answer = self._http.request(method, f"{self._state.http(name)}/_control/{path}", json=body)
        return answer.raise_for_status().json()

    def until(self, what: str, look: Callable[[], Any], within: float = 30.0) -> Any:
        """What ``look`` finds, as soon as it finds something. Raises ``DemoFailed`` with the last thing seen."""
        deadline = monotonic() + within
        while True:
            found = look()
            if found:
                return found
            if monotonic() > deadline:
                raise DemoFailed(f"{what} did not happen within {within:.0f} s")
            time.sleep(0.005)
