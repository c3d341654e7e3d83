"""Supabase Auth's admin side: invite people, read who there is.

Source of paths and answers: supabase/auth ``openapi.yaml``; the stable error shape is asked for by version header.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx

from services.practices.rules.provider import InviteAnswer, PersonThere, ProviderUnreachable

PAGE = 200
_HEADERS = {"x-supabase-api-version": "2024-01-01"}


class Supabase:
    """``url`` is where Auth answers (``https://<ref>.supabase.co/auth/v1``); ``key`` the service role's."""

    def __init__(self, url: str, key: str, site_url: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {**_HEADERS, "apikey": key, "authorization": f"Bearer {key}"}
        self._site_url = site_url

    async def invite(self, email: str, name: str) -> InviteAnswer:
        """Who has an account already gets a log-in link instead. Never raises for what the network or the provider does."""
        try:
            body = {"email": email, "data": {"full_name": name}}
            answer = await self._call("POST", "/invite", params={"redirect_to": self._site_url}, json=body)
            if answer.status_code == 422 and answer.json().get("code") == "email_exists":
                return await self._known(email)
        except ProviderUnreachable as error:
            return InviteAnswer(None, str(error))
        return _identity(answer)

    async def _known(self, email: str) -> InviteAnswer:
        link = {"type": "magiclink", "email": email, "redirect_to": self._site_url}
        found = _identity(await self._call("POST", "/admin/generate_link", json=link))
        if found.identity is not None:
            # The e-mail is a courtesy: they have a way in. Its rate limit must not keep them out.
            await self._call("POST", "/otp", json={"email": email, "create_user": False})
        return found

    async def people(self) -> AsyncIterator[PersonThere]:
        """Everybody, page by page. Raises ``ProviderUnreachable``."""
        page = 1
        while True:
            answer = await self._call("GET", "/admin/users", params={"page": str(page), "per_page": str(PAGE)})
            if answer.status_code != 200:
                raise ProviderUnreachable(f"provider_answered_{answer.status_code}")
            users = answer.json()["users"]
            for user in users:
                yield PersonThere.model_validate(user)
            if len(users) < PAGE:
                return
            page += 1

    async def person(self, identity: str) -> PersonThere | None:
        """One person, None when there is none. Raises ``ProviderUnreachable``."""
        answer = await self._call("GET", f"/admin/users/{identity}")
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise ProviderUnreachable(f"provider_answered_{answer.status_code}")
        return PersonThere.model_validate(answer.json())

    async def _call(self, method: str, path: str, **sent: Any) -> httpx.Response:
        try:
            async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
                return await client.request(method, self._url + path, headers=self._headers, **sent)
        except httpx.HTTPError as error:
            raise ProviderUnreachable("provider_unreachable") from error


def _identity(answer: httpx.Response) -> InviteAnswer:
    if answer.status_code != 200:
        code = answer.json().get("code", "") if answer.headers.get("content-type", "").startswith("application/json") else ""
        return InviteAnswer(None, str(code)[:100] or f"provider_answered_{answer.status_code}")
    return InviteAnswer(str(answer.json()["id"]))
