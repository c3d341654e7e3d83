"""The environment of every service, from one list. Compose uses the same names (a test compares)."""

from __future__ import annotations

from deploy.native.state import LOOPBACK, State
from libs.contracts.topics import SERVICES

ISSUER = "https://issuer.vantage.example"
AUDIENCE = "authenticated"


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
        "VANTAGE_ISSUER": ISSUER,
        "VANTAGE_AUDIENCE": AUDIENCE,
        "VANTAGE_JWKS_URL": f"{state.http('issuer')}/.well-known/jwks.json",
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
    if service == "audit":
        return {"VANTAGE_LEDGER_SIGNING_KEY": state.secrets["ledger_signing_key"], "VANTAGE_LEDGER_ORIGIN": "ledger.vantage.example"}
    if service == "scheduling":
        return {"VANTAGE_WEBHOOKS_ALLOW_PRIVATE": "true"}
    return {}


def of_migration(service: str, state: State) -> dict[str, str]:
    return {"VANTAGE_MIGRATION_DATABASE_URL": state.url(f"{service}_owner")}
