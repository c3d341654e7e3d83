"""What a signed-in user may do: look at the account, change it, leave."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from libs.testing.simulators.supabase import passwords, users
from libs.testing.simulators.supabase.callers import Caller, Callers
from libs.testing.simulators.supabase.reading import body_of, email_of, table, text
from libs.testing.simulators.supabase.refusals import Refusal, invalid, not_simulated
from libs.testing.simulators.supabase.settings import Settings
from libs.testing.simulators.supabase.store import Row, Store, Transaction


class Account:
    def __init__(self, settings: Settings, store: Store, callers: Callers) -> None:
        self._settings = settings
        self._store = store
        self._callers = callers

    async def user(self, request: Request) -> Response:
        caller = self._callers.user(request)
        if request.method == "GET":
            return JSONResponse(users.view(caller.row))
        body = await body_of(request)
        if body.get("app_metadata") is not None:
            raise Refusal(403, "not_admin", "Updating app_metadata requires admin privileges")
        if text(body, "email") and email_of(body) != caller.row["email"]:
            raise not_simulated("a change of e-mail address by the user")
        if text(body, "phone"):
            raise not_simulated("a phone number")
        tx = self._store.begin()
        row = tx.user(caller.row["id"])
        if text(body, "password"):
            self._change_password(tx, row, text(body, "password"), caller)
        users.merge(row["raw_user_meta_data"], table(body, "data"))
        tx.commit()
        return JSONResponse(users.view(row))

    def _change_password(self, tx: Transaction, row: Row, password: str, caller: Caller) -> None:
        """All other sessions end with the password, and so do links that are on their way."""
        passwords.judged(password, self._settings)
        if row["encrypted_password"] and passwords.matches(password, row["encrypted_password"]):
            raise Refusal(422, "same_password", "New password should be different from the old password.")
        row["encrypted_password"] = passwords.hashed(password)
        users.clear_tokens(row)
        tx.later(lambda: self._store.end_sessions(row["id"], but=caller.session_id))

    async def logout(self, request: Request) -> Response:
        caller = self._callers.user(request)
        scope = request.query_params.get("scope", "") or "global"
        if scope not in {"global", "local", "others"}:
            raise invalid(f'Unsupported logout scope "{scope}"')
        user_id, session = caller.row["id"], caller.session_id
        tx = self._store.begin()
        if scope == "global" or session is None:
            tx.later(lambda: self._store.end_sessions(user_id))
        elif scope == "local":
            tx.later(lambda: self._store.end_sessions(user_id, only=session))
        else:
            tx.later(lambda: self._store.end_sessions(user_id, but=session))
        tx.commit()
        return Response(status_code=204)
