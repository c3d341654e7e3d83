"""The environment of the real image, refused where the real server would not start."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_TRUE = {"1", "t", "true"}
# Hooks may be called without TLS only here.
_NEAR = {"localhost", "127.0.0.1", "::1", "host.docker.internal"}


def duration(text: str) -> timedelta:
    """Go's notation: ``24h``, ``1h30m``. Raises ``ValueError``."""
    if not re.fullmatch(f"(?:{_DURATION.pattern})+", text):
        raise ValueError(f'time: invalid duration "{text}"')
    return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text)))


@dataclass(frozen=True)
class Hook:
    """The custom access token hook: where, and the secrets it is signed with (``whsec_…``)."""

    uri: str
    secrets: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    site_url: str
    external_url: str
    jwt_keys: list[dict[str, Any]] = field(default_factory=list)
    jwt_secret: str = ""
    issuer: str = ""
    audience: str = "authenticated"
    lifetime: int = 3600
    admin_roles: tuple[str, ...] = ("service_role", "supabase_admin")
    autoconfirm: bool = False
    disable_signup: bool = False
    password_length: int = 6
    password_characters: tuple[str, ...] = ()
    mail_pause: timedelta = timedelta(minutes=1)
    otp_lifetime: timedelta = timedelta(days=1)
    reuse_interval: timedelta = timedelta(seconds=10)
    redirects: tuple[str, ...] = ()
    hook: Hook | None = None

    @staticmethod
    def read(environment: Mapping[str, str]) -> Settings:
        """Raises ``ValueError`` naming the variable that is missing or wrong."""

        def value(name: str, default: str = "") -> str:
            return environment.get(f"GOTRUE_{name}", "") or default

        external = value("API_EXTERNAL_URL") or environment.get("API_EXTERNAL_URL", "") or value("EXTERNAL_URL")
        keys = json.loads(value("JWT_KEYS", "[]"))
        for name, given in (("GOTRUE_SITE_URL", value("SITE_URL")), ("API_EXTERNAL_URL", external)):
            if not given:
                raise ValueError(f"required key {name} missing value")
        if keys and sum("sign" in key.get("key_ops", []) for key in keys) != 1:
            raise ValueError("GOTRUE_JWT_KEYS must hold exactly one key whose key_ops contain sign")
        if not keys and not value("JWT_SECRET"):
            raise ValueError("required key GOTRUE_JWT_SECRET (or GOTRUE_JWT_KEYS) missing value")
        return Settings(
            site_url=value("SITE_URL"), external_url=external, jwt_keys=keys, jwt_secret=value("JWT_SECRET"),
            issuer=value("JWT_ISSUER", external), audience=value("JWT_AUD", "authenticated"), lifetime=int(value("JWT_EXP", "3600")),
            admin_roles=_list(value("JWT_ADMIN_ROLES", "service_role,supabase_admin")),
            autoconfirm=value("MAILER_AUTOCONFIRM").lower() in _TRUE, disable_signup=value("DISABLE_SIGNUP").lower() in _TRUE,
            password_length=int(value("PASSWORD_MIN_LENGTH", "6")),
            password_characters=tuple(part for part in value("PASSWORD_REQUIRED_CHARACTERS").split(":") if part),
            mail_pause=duration(value("SMTP_MAX_FREQUENCY", "1m")),
            otp_lifetime=timedelta(seconds=int(value("MAILER_OTP_EXP", "86400"))),
            reuse_interval=timedelta(seconds=int(value("SECURITY_REFRESH_TOKEN_REUSE_INTERVAL", "10"))),
            redirects=_list(value("URI_ALLOW_LIST")), hook=_hook(environment),
        )  # fmt: skip


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _hook(environment: Mapping[str, str]) -> Hook | None:
    prefix = "GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN"
    if environment.get(f"{prefix}_ENABLED", "").lower() not in _TRUE:
        return None
    uri = environment.get(f"{prefix}_URI", "")
    parts = urlsplit(uri)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _NEAR):
        raise ValueError(f"{prefix}_URI must be https, or http on one of {', '.join(sorted(_NEAR))}: {uri!r}")
    secrets = tuple(part for part in environment.get(f"{prefix}_SECRETS", "").split("|") if part)
    if not secrets or not all(_is_secret(secret) for secret in secrets):
        raise ValueError(f"{prefix}_SECRETS must be v1,whsec_<base64>, several separated by |")
    return Hook(uri, tuple(secret.removeprefix("v1,") for secret in secrets))


def _is_secret(text: str) -> bool:
    if not re.fullmatch(r"v1,whsec_[A-Za-z0-9+/=]{32,88}", text):
        return False
    try:
        return bool(base64.b64decode(text.removeprefix("v1,whsec_"), validate=True))
    except binascii.Error:
        return False
