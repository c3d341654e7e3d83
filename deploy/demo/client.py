"""Knocks on the doors a practice, a patient and the providers use: the gateway and the simulators, nothing else.

People come in as people do: invited by e-mail, through the link in it, with a password of their own.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from deploy.native import environment
from deploy.native.state import ROOT, State
from libs.common.clock import monotonic
from libs.contracts.topics import SERVICES


class DemoFailed(RuntimeError):
    """A hop did not happen; the text says which and what was seen instead."""


@dataclass(frozen=True)
class Person:
    """Somebody who came in: how they do it again, and the token they have for an hour."""

    email: str
    password: str
    token: str


class Client:
    """One installation, called as its users call it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._http = httpx.Client(timeout=30.0, trust_env=False)
        self._vantage: Person | None = None

    def close(self) -> None:
        self._http.close()

    def vantage_admin(self) -> Person:
        """A Vantage admin of this installation, made by its operator on first use."""
        if self._vantage is None:
            email = f"vera.{secrets.token_hex(3)}@vantage.example"
            command = [sys.executable, "-m", "services.practices", "operators", "add", "--name", "Vera Voss", "--email", email]
            settings = {**os.environ, **environment.of_service("practices", self._state)}
            made = subprocess.run(command, env=settings, cwd=ROOT, capture_output=True, text=True, check=False)
            if made.returncode != 0:
                raise DemoFailed(f"operators add: {made.stderr.strip()}")
            self._vantage = self.accept(email)
        return self._vantage

    def accept(self, email: str) -> Person:
        """Follow the invitation's link, choose a password, and wait until every service knows the person."""
        mail = self.until(f"the invitation to {email}", lambda: self._invitation(email))
        session = self.auth("POST", "/verify", {"type": "invite", "token_hash": mail["token_hash"]})
        person = Person(email, secrets.token_urlsafe(18), session["access_token"])
        self.auth("PUT", "/user", {"password": person.password}, token=person.token)
        for service in SERVICES:
            self.until(f"{service} knowing {email}", lambda service=service: self._known(service, person.token))  # type: ignore[misc]
        return person

    def log_in(self, person: Person) -> str:
        """A fresh token."""
        body = {"email": person.email, "password": person.password}
        token: str = self.auth("POST", "/token?grant_type=password", body)["access_token"]
        return token

    def _invitation(self, email: str) -> Any:
        mails = self.simulator("auth", "GET", "mails")
        return next((mail for mail in reversed(mails) if mail["to"] == email and mail["type"] == "invite"), None)

    def _known(self, service: str, token: str) -> bool:
        return bool(self.ask("GET", f"/v1/debug/{service}/session", token).json().get("code") != "not_a_member")

    def auth(self, method: str, path: str, body: object, *, token: str | None = None) -> Any:
        """The identity provider, through the gateway. Raises ``DemoFailed`` for anything but success."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self._http.request(method, f"{self._state.gateway}/auth/v1{path}", headers=headers, json=body)
        if not answer.is_success:
            raise DemoFailed(f"{method} /auth/v1{path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def ask(
        self,
        method: str,
        path: str,
        token: str,
        body: object = None,
        *,
        params: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Through the gateway; whatever the answer is. A token that begins like an API key is sent as one."""
        proof = {"X-Api-Key": token} if token.startswith("vk_") else {"Authorization": f"Bearer {token}"}
        return self._http.request(method, self._state.gateway + path, headers={**proof, **(headers or {})}, json=body, params=params)

    def call(self, method: str, path: str, token: str, body: object = None, *, params: dict[str, Any] | None = None) -> httpx.Response:
        """Through the gateway. Raises ``DemoFailed`` for anything but success."""
        answer = self.ask(method, path, token, body, params=params)
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
