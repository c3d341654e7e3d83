"""What tests ask of the simulator and of no real server: mails, webhooks again, tokens of any content, new keys.

``GET /_control/mails``; ``POST /_control/user_webhook {"url", "secret"}`` and ``/_control/user_webhook/resend
{"user_id", "times", "order": "same"|"reversed"}``; ``/_control/token {"claims", "header"?}``, ``/_control/rotate``,
``/_control/revoke {"kid"}``.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from libs.testing.simulators.supabase.feed import UserFeed
from libs.testing.simulators.supabase.keys import KeyRing
from libs.testing.simulators.supabase.reading import body_of
from libs.testing.simulators.supabase.store import Store


class Steering:
    def __init__(self, store: Store, keys: KeyRing, feed: UserFeed) -> None:
        self._store = store
        self._keys = keys
        self._feed = feed

    async def mails(self, _: Request) -> Response:
        return JSONResponse(self._store.mails)

    async def webhook(self, request: Request) -> Response:
        body = await body_of(request)
        self._feed.point(str(body["url"]), str(body["secret"]))
        return JSONResponse({})

    async def resend(self, request: Request) -> Response:
        body = await body_of(request)
        backwards = body.get("order", "same") == "reversed"
        return JSONResponse({"statuses": await self._feed.resend(str(body["user_id"]), int(body.get("times", 1)), backwards=backwards)})

    async def token(self, request: Request) -> Response:
        body = await body_of(request)
        return JSONResponse({"token": self._keys.sign(body["claims"], body.get("header"))})

    async def rotate(self, _: Request) -> Response:
        return JSONResponse({"kid": self._keys.rotate()})

    async def revoke(self, request: Request) -> Response:
        kid = str((await body_of(request))["kid"])
        if not self._keys.revoke(kid):
            return JSONResponse({"error": f"{kid} is unknown or is the signing key"}, 409)
        return JSONResponse({})
