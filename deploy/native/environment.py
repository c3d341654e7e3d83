"""The environment of every service, from one list. Compose uses the same names (a test compares)."""

from __future__ import annotations

from deploy.native.auth import AUDIENCE, ISSUER
from deploy.native.state import LOOPBACK, State
from libs.contracts.topics import SERVICES

SITE = "https://app.vantage.example"
"""Where people land after following an invitation."""


def of_service(service: str, state: State, *, otlp_endpoint: str | None = None) -> dict[str, str]:
    """Variables of ``python -m services.<service> serve`` and ``migrate``."""
    assert service in SERVICES
    values = {
        "VANTAGE_HTTP_PORT": str(state.ports[service]),
        "VANTAGE_DATABASE_URL": state.url(f"{service}_app"),
        "VANTAGE_KAFKA": state.address("kafka"),
        "VANTAGE_TENANCY_KEY": state.secrets["tenancy_key"],
        "VANTAGE_SECRETS_KEYS": state.secrets["secrets_keys"],
        "VANTAGE_CURSOR_KEY": state.secrets["cursor_key"],
        "VANTAGE_GATEWAY_KEY": state.secrets["gateway_key"],
        "VANTAGE_GATEWAY_PROOF": state.secrets["gateway_proof"],
        "VANTAGE_ISSUER": ISSUER,
        "VANTAGE_AUDIENCE": AUDIENCE,
        "VANTAGE_JWKS_URL": f"{state.http('auth')}/.well-known/jwks.json",
        "VANTAGE_JWT_ALGORITHM": "ES256",
        "VANTAGE_LOG_LEVEL": "info",
    }
    if state.bind != LOOPBACK:
        values["VANTAGE_HTTP_HOST"] = state.bind
    if otlp_endpoint:
        values["VANTAGE_OTLP_ENDPOINT"] = otlp_endpoint
    return values | _extras(service, state)


def _extras(service: str, state: State) -> dict[str, str]:
    if service == "notifications":
        return {"VANTAGE_SENDGRID_URL": state.http("sendgrid"), "VANTAGE_LOOKUP_AFTER_SECONDS": "3"}
    if service == "practices":
        return {
            "VANTAGE_AUTH_URL": state.http("auth"),
            "VANTAGE_AUTH_SERVICE_KEY": state.secrets["auth_service_key"],
            "VANTAGE_HOOK_SECRETS": state.secrets["hook_secrets"],
            "VANTAGE_SITE_URL": SITE,
        }
    if service == "audit":
        return {"VANTAGE_LEDGER_SIGNING_KEY": state.secrets["ledger_signing_key"], "VANTAGE_LEDGER_ORIGIN": "ledger.vantage.example"}
    if service == "scheduling":
        return {
            "VANTAGE_WEBHOOKS_ALLOW_PRIVATE": "true",
            "VANTAGE_RETELL_URL": state.http("retell"),
            "VANTAGE_CALCOM_URL": state.http("calcom"),
            "VANTAGE_LOOKUP_AFTER_SECONDS": "3",
        }
    if service == "workflows":
        return {
            "VANTAGE_WORKFLOW_ENGINE": state.engine,
            "VANTAGE_TEMPORAL_ADDRESS": state.address("temporal") if state.has_temporal else "",
        }
    return {}


def of_auth(state: State) -> dict[str, str]:
    """What Supabase Auth is told, by its own names: the real image in containers, natively the simulator. Hooks must be asked by TLS, except on this very machine."""
    near = state.bind == LOOPBACK
    hooks = state.gateway if near else f"https://{state.address('gateway_tls')}"
    outside = state.gateway if near else "https://localhost:8443"
    return {
        "GOTRUE_SITE_URL": SITE,
        "API_EXTERNAL_URL": f"{outside}/auth/v1",
        "GOTRUE_JWT_KEYS": state.secrets["auth_jwt_keys"],
        "GOTRUE_JWT_ISSUER": ISSUER,
        "GOTRUE_JWT_AUD": AUDIENCE,
        "GOTRUE_JWT_EXP": "3600",
        "GOTRUE_DISABLE_SIGNUP": "true",
        "GOTRUE_PASSWORD_MIN_LENGTH": "12",
        "GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_ENABLED": "true",
        "GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_URI": f"{hooks}/hooks/supabase/access-token",
        "GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_SECRETS": state.secrets["hook_secrets"],
    }


def of_gateway(state: State) -> dict[str, str]:
    """What the gateway's configuration takes from its environment, so that no file holds a secret."""
    return {"VANTAGE_GATEWAY_PROOF": state.secrets["gateway_proof"]}


def of_migration(service: str, state: State) -> dict[str, str]:
    return {"VANTAGE_MIGRATION_DATABASE_URL": state.url(f"{service}_owner")}
