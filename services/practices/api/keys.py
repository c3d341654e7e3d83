"""API keys, and the operation the gateway turns one into a token with."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Header, Request, Response

from libs.common.auth import Permission
from libs.common.errors import Forbidden
from libs.common.http import CursorQuery, DoorDep, LimitQuery, Page, Routes, needs, public
from services.practices.commands.authorize import ApiKeyRefused, KeyChecker
from services.practices.commands.keys import (
    ApiKeyView,
    CreateApiKey,
    CreatedApiKey,
    RotateApiKey,
    create_key,
    revoke_key,
    rotate_key,
)
from services.practices.queries import keys_listed


class GatewayOnly(Forbidden):
    """Only the gateway may ask this."""


def key_routes() -> Routes:
    router = Routes(prefix="/v1/api-keys", tags=["api-keys"])

    @router.post("", status_code=201, response_model=CreatedApiKey, **needs(Permission.KEYS_WRITE))
    async def create(cmd: CreateApiKey, door: DoorDep) -> Response:
        """Make an API key. The answer is the only place it is ever shown."""
        async with door.work() as tx:
            return await door.answer(tx, await create_key(cmd, tx), status=201)

    @router.get("", response_model=Page[ApiKeyView], **needs(Permission.KEYS_READ))
    async def list_keys(door: DoorDep, limit: LimitQuery = 50, cursor: CursorQuery = None) -> Page[ApiKeyView]:
        """List API keys, newest first, ended ones too."""
        async with door.work() as tx:
            views = [ApiKeyView.of(key) for key in await keys_listed(tx, after=door.position(cursor), limit=limit)]
            return door.page(views, limit, lambda view: (view.created_at.isoformat(), view.id))

    @router.post("/{key_id}/rotate", status_code=201, response_model=CreatedApiKey, **needs(Permission.KEYS_WRITE))
    async def rotate(key_id: UUID, cmd: RotateApiKey, door: DoorDep) -> Response:
        """Make a new key like this one; the old one counts for the overlap yet."""
        async with door.work() as tx:
            return await door.answer(tx, await rotate_key(key_id, cmd, tx), status=201)

    @router.delete("/{key_id}", status_code=204, **needs(Permission.KEYS_WRITE))
    async def revoke(key_id: UUID, door: DoorDep) -> Response:
        """Revoke a key: it stops within seconds."""
        async with door.work() as tx:
            await revoke_key(key_id, tx)
            return await door.answer(tx, status=204)

    return router


def gateway_routes(checker: KeyChecker) -> Routes:
    router = Routes(include_in_schema=False)

    # Every method: the gateway asks with the method of the request it is about to pass on.
    @router.api_route(
        "/internal/authorize{_path:path}",
        methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"],
        **public("the gateway's proof"),
    )
    async def authorize(request: Request, _path: str, x_api_key: Annotated[str, Header()] = "") -> Response:
        """Who an API key is. 200 with the headers to pass on, or the answer to give."""
        if not request.state.through_gateway:
            raise GatewayOnly
        if not x_api_key:
            raise ApiKeyRefused
        found = await checker.authorize(x_api_key, request.state.client)
        headers = {"authorization": f"Bearer {found.token}", "x-key-id": str(found.key_id), "x-practice-id": str(found.practice_id)}
        return Response(status_code=200, headers=headers)

    return router
