"""The parts put together, and every path of the real server we know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from libs.common.clock import Clock, utc_now
from libs.testing.simulators.control import Faults, Record, simulator
from libs.testing.simulators.supabase.account import Account
from libs.testing.simulators.supabase.admin import Admin
from libs.testing.simulators.supabase.callers import Callers
from libs.testing.simulators.supabase.entrance import Entrance
from libs.testing.simulators.supabase.feed import UserFeed
from libs.testing.simulators.supabase.hook import TokenHook
from libs.testing.simulators.supabase.invitations import Invitations
from libs.testing.simulators.supabase.keys import KeyRing
from libs.testing.simulators.supabase.mail import Mailer
from libs.testing.simulators.supabase.redemption import Redemption
from libs.testing.simulators.supabase.refusals import Refusal
from libs.testing.simulators.supabase.sessions import Sessions
from libs.testing.simulators.supabase.settings import Settings
from libs.testing.simulators.supabase.steering import Steering
from libs.testing.simulators.supabase.store import Store
from libs.testing.simulators.supabase.times import stamp

Handler = Callable[[Request], Awaitable[Response]]
VERSION = "v2.196.0"
_CACHED = {"Cache-Control": "public, max-age=600"}


class SupabaseSimulator:
    def __init__(
        self, state: Path, settings: Settings, *, now: Clock = utc_now, hook_seconds: float = 5.0, hook_pause: float = 2.0
    ) -> None:
        """``now`` and the hook's patience are the real ones unless a test holds them."""
        self.record = Record(state / "accepted.jsonl")
        self.faults = Faults()
        self.settings = settings
        self.store = Store(state / "state.json", now)
        self.keys = KeyRing(settings, self.store)
        hook = TokenHook(settings.hook, now, seconds=hook_seconds, pause=hook_pause) if settings.hook else None
        mailer, callers = Mailer(settings, self.store), Callers(settings, self.store, self.keys)
        sessions = Sessions(settings, self.store, self.keys, hook)
        self.entrance = Entrance(settings, self.store, mailer, sessions)
        self.redemption = Redemption(settings, self.store, mailer, sessions)
        self.account = Account(settings, self.store, callers)
        self.admin = Admin(settings, self.store, callers)
        self.invitations = Invitations(settings, self.store, mailer, callers)
        self.steering = Steering(self.store, self.keys, UserFeed(self.store))

    def app(self) -> ASGIApp:
        routes = [
            self._route("/signup", self.entrance.signup, "POST"),
            self._route("/token", self.entrance.token, "POST"),
            self._route("/recover", self.redemption.recover, "POST"),
            self._route("/otp", self.redemption.otp, "POST"),
            self._route("/verify", self.redemption.verify, "GET", "POST"),
            self._route("/user", self.account.user, "GET", "PUT"),
            self._route("/logout", self.account.logout, "POST"),
            self._route("/invite", self.invitations.invite, "POST"),
            self._route("/admin/users", self.admin.users, "GET", "POST"),
            self._route("/admin/users/{user_id}", self.admin.user, "GET", "PUT", "DELETE"),
            self._route("/admin/generate_link", self.invitations.generate_link, "POST"),
            Route("/.well-known/jwks.json", self.jwks),
            Route("/.well-known/openid-configuration", self.discovery),
            Route("/health", self.health),
            Route("/settings", self.shown_settings),
            Route("/_control/mails", self.steering.mails),
            Route("/_control/user_webhook", self.steering.webhook, methods=["POST"]),
            Route("/_control/user_webhook/resend", self.steering.resend, methods=["POST"]),
            Route("/_control/token", self.steering.token, methods=["POST"]),
            Route("/_control/rotate", self.steering.rotate, methods=["POST"]),
            Route("/_control/revoke", self.steering.revoke, methods=["POST"]),
        ]
        return simulator(routes, self.record, self.faults, self.page)

    def _route(self, path: str, handler: Handler, *methods: str) -> Route:
        """Refusals answered in the asked shape; what was accepted and changes something is recorded."""

        async def answer(request: Request) -> Response:
            try:
                response = await handler(request)
            except Refusal as refusal:
                return refusal.response(request)
            if request.method != "GET":
                line = {"method": request.method, "path": request.url.path, "status": response.status_code, "at": stamp(self.store.now())}
                self.record.add(line)
            return response

        return Route(path, answer, methods=list(methods))

    async def jwks(self, _: Request) -> Response:
        return JSONResponse({"keys": self.keys.published()}, headers=_CACHED)

    async def discovery(self, _: Request) -> Response:
        issuer = self.settings.issuer
        return JSONResponse(
            {
                "issuer": issuer, "authorization_endpoint": f"{issuer}/oauth/authorize", "token_endpoint": f"{issuer}/oauth/token",
                "jwks_uri": f"{issuer}/.well-known/jwks.json", "userinfo_endpoint": f"{issuer}/oauth/userinfo",
                "response_types_supported": ["code"], "response_modes_supported": ["query"], "subject_types_supported": ["public"],
                "grant_types_supported": ["authorization_code", "refresh_token"], "code_challenge_methods_supported": ["S256", "plain"],
                "id_token_signing_alg_values_supported": ["RS256", "HS256", "ES256"], "scopes_supported": ["openid", "profile", "email", "phone"],
            },
            headers=_CACHED,
        )  # fmt: skip

    async def health(self, _: Request) -> Response:
        return JSONResponse({"version": VERSION, "name": "GoTrue", "description": "GoTrue is a user registration and authentication API"})

    async def shown_settings(self, _: Request) -> Response:
        external = dict.fromkeys(("anonymous_users", "apple", "azure", "github", "gitlab", "google", "keycloak", "phone"), False)
        return JSONResponse(
            {
                "external": {**external, "email": True}, "disable_signup": self.settings.disable_signup,
                "mailer_autoconfirm": self.settings.autoconfirm, "phone_autoconfirm": False, "sms_provider": "", "saml_enabled": False,
            }
        )  # fmt: skip

    def page(self, _: Request) -> Response:
        return JSONResponse({"issuer": self.settings.issuer, "users": len(self.store.users), "mails": len(self.store.mails)})
