"""What the identity provider asks and tells us, signed (Standard Webhooks)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from libs.common.errors import Malformed, Unauthenticated
from libs.common.http import Routes, WorkDep, public
from libs.common.http.strict_json import strict_json
from services.practices.commands.identity import take_change, token_for
from services.practices.rules.provider import TokenRequest, UserChange
from services.practices.rules.signatures import SignatureInvalid, check_signature

SIGNED = public("the identity provider's signature")


class HookRefused(Unauthenticated):
    """The hook's signature is not valid here."""


class HookMalformed(Malformed):
    """The body is not what this hook takes."""


def hook_routes(keys: Sequence[bytes]) -> Routes:
    """``keys``: the secrets that count at present."""
    router = Routes(prefix="/hooks/supabase", tags=["hooks"])

    @router.post("/access-token", **SIGNED)
    async def access_token(request: Request, work: WorkDep) -> Response:
        """Custom access-token hook: adds the practice, or refuses the log-in with a sentence for the person."""
        _, body = await _signed(request, work.now().timestamp(), keys)
        try:
            asked = TokenRequest.model_validate(body)
        except ValueError:
            raise HookMalformed from None
        answer = await token_for(asked.user_id, _uuid(asked.wanted), work)
        if answer.refusal is not None:
            # Auth takes a refusal with status 200 and passes the message on to the person.
            return JSONResponse({"error": {"http_code": 403, "message": answer.refusal}})
        claims = {name: value for name, value in asked.claims.items() if name != "practice_id"}
        if answer.practice_id is not None:
            claims["practice_id"] = str(answer.practice_id)
        return JSONResponse({"claims": claims})

    @router.post("/user-change", status_code=204, **SIGNED)
    async def user_change(request: Request, work: WorkDep) -> Response:
        """A person changed at the identity provider. Duplicates and late reports change nothing."""
        delivery, body = await _signed(request, work.now().timestamp(), keys)
        try:
            person = UserChange.model_validate(body).person()
        except ValueError:
            raise HookMalformed from None
        await take_change(delivery, person, work)
        return Response(status_code=204)

    return router


async def _signed(request: Request, now: float, keys: Sequence[bytes]) -> tuple[str, Any]:
    body = await request.body()
    try:
        delivery = check_signature(request.headers, body, keys, now)
    except SignatureInvalid:
        raise HookRefused from None
    return delivery, strict_json(body)


def _uuid(text: Any) -> UUID | None:
    try:
        return UUID(text)
    except (ValueError, TypeError, AttributeError):
        return None
