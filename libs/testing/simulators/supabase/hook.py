"""The custom access token hook: asked at every token, judged by the real server's rules.

Five seconds in all, up to three tries: after a network error when two seconds have passed, after 429 or 503 only with
``Retry-After`` and then at once. Any other status is final.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx

from libs.common.clock import Clock
from libs.testing.simulators.supabase import signing
from libs.testing.simulators.supabase.refusals import Refusal
from libs.testing.simulators.supabase.settings import Hook
from libs.testing.simulators.supabase.times import stamp

TRIES = 3
LIMIT_BYTES = 200 * 1024
_UNAVAILABLE = "Service currently unavailable due to hook"
_WORDS = {429: _UNAVAILABLE, 503: _UNAVAILABLE, 400: "Invalid payload sent to hook", 401: "Hook requires authorization token"}
_REQUIRED = ("aud", "exp", "iat", "sub", "email", "phone", "role", "aal", "session_id", "is_anonymous")
_TYPES: dict[str, tuple[type, ...]] = {
    "aud": (str, list), "exp": (int,), "jti": (str,), "iat": (int,), "iss": (str,), "nbf": (int,), "sub": (str,), "email": (str,),
    "phone": (str,), "app_metadata": (dict,), "user_metadata": (dict,), "role": (str,), "aal": (str,), "amr": (list,), "session_id": (str,),
}  # fmt: skip
_NAMES = {str: "string", list: "array", int: "integer", dict: "object", bool: "boolean", float: "number", type(None): "null"}


class TokenHook:
    def __init__(self, settings: Hook, now: Clock, *, seconds: float = 5.0, pause: float = 2.0) -> None:
        self._settings = settings
        self._now = now
        self._seconds = seconds
        self._pause = pause

    async def claims(self, user_id: str, claims: dict[str, Any], method: str, ip_address: str) -> dict[str, Any]:
        """The claims as the hook wants them. Its body is the same at every try, with one ``metadata.uuid``."""
        metadata = {"uuid": str(uuid4()), "time": stamp(self._now()), "name": "customize-access-token", "ip_address": ip_address}
        asked = {"metadata": metadata, "user_id": user_id, "claims": claims, "authentication_method": method}
        try:
            async with asyncio.timeout(self._seconds), httpx.AsyncClient(timeout=None, trust_env=False) as client:
                answer = await self._call(client, json.dumps(asked).encode())
        except TimeoutError as error:
            raise Refusal(422, "hook_timeout", f"Failed to reach hook within maximum time of {self._seconds:f} seconds") from error
        return _judged(answer)

    async def _call(self, client: httpx.AsyncClient, body: bytes) -> bytes | None:
        for attempt in range(TRIES):
            signed = signing.headers(body, self._settings.secrets, self._now())
            headers = {"content-type": "application/json", "accept-encoding": "identity", **signed}
            try:
                answer = await client.post(self._settings.uri, content=body, headers=headers)
            except httpx.HTTPError as error:
                if attempt == TRIES - 1:
                    raise Refusal(422, "hook_timeout_after_retry", "Failed to reach hook after maximum retries") from error
                await asyncio.sleep(self._pause)
                continue
            if answer.status_code in {429, 503} and answer.headers.get("retry-after"):
                continue
            return _content(answer)
        raise _broken(_UNAVAILABLE)


def _content(answer: httpx.Response) -> bytes | None:
    if answer.status_code not in {200, 202, 204}:
        raise _broken(_WORDS.get(answer.status_code, f"Unexpected status code returned from hook: {answer.status_code}"))
    kind = answer.headers.get("content-type", "")
    if not kind and answer.status_code == 204:
        return None
    if not kind:
        raise Refusal(400, "hook_payload_invalid_content_type", "Invalid Content-Type: Missing Content-Type header")
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise Refusal(400, "hook_payload_invalid_content_type", f"Invalid JSON response. Received content-type: {kind}")
    if len(answer.content) > LIMIT_BYTES:
        raise Refusal(422, "hook_payload_over_size_limit", f"Payload size exceeded size limit of {LIMIT_BYTES} bytes")
    return answer.content


def _judged(raw: bytes | None) -> dict[str, Any]:
    """An error with a message is a refusal; without one it is none, and the answer counts."""
    if raw is None:
        raise _unfit(["(root): Invalid type. Expected: object, given: null"])
    try:
        answer = json.loads(raw)
    except ValueError as error:
        raise _broken("Error unmarshaling JSON output.") from error
    if not isinstance(answer, dict):
        raise _broken("Error unmarshaling JSON output.")
    said = answer.get("error")
    if isinstance(said, dict) and said.get("message"):
        status = int(said.get("http_code") or 500)
        raise Refusal(status, "unexpected_failure" if status == 500 else "unknown", str(said["message"]))
    if "claims" not in answer:
        raise _broken("output claims field is missing")
    claims = answer["claims"]
    if not isinstance(claims, dict):
        raise _unfit([f"(root): Invalid type. Expected: object, given: {_NAMES[type(claims)]}"])
    found = [f"(root): {name} is required" for name in _REQUIRED if name not in claims]
    found += [
        f"{name}: Invalid type. Expected: {'/'.join(_NAMES[kind] for kind in kinds)}, given: {_NAMES[type(claims[name])]}"
        for name, kinds in _TYPES.items()
        if name in claims and type(claims[name]) not in kinds
    ]
    if found:
        raise _unfit(found)
    return claims


def _unfit(complaints: list[str]) -> Refusal:
    return _broken("output claims do not conform to the expected schema: \n" + "".join(f"- {line}\n" for line in complaints))


def _broken(message: str) -> Refusal:
    return Refusal(500, "unexpected_failure", message)
