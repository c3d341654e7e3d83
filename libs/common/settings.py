"""What every service is told by its environment. Read once, in ``app.py`` or ``__main__``; frozen; secrets have no default."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.common.secrets import LocalKeys, key_from_hex


class ServiceSettings(BaseSettings):
    """Environment variables ``VANTAGE_<NAME>``. Each service subclasses this with its own."""

    model_config = SettingsConfigDict(env_prefix="VANTAGE_", frozen=True, extra="ignore", hide_input_in_errors=True)

    http_host: str = Field(default="127.0.0.1", description="Address the HTTP door listens on.")
    http_port: int = Field(description="Port the HTTP door listens on.")
    database_url: SecretStr = Field(description="postgresql:// URL of the service's application role.")
    database_pool: int = Field(default=8, ge=1, le=100, description="Open database connections at most.")
    database_pooled: bool = Field(default=False, description="The URL leads to a pooler in transaction mode (PgBouncer, Supabase's 6543).")
    kafka: str = Field(description="host:port of the Kafka broker.")
    tenancy_key: SecretStr = Field(description="Key that signs tenant contexts: 32 bytes in hex.")
    secrets_keys: SecretStr = Field(
        description="Keys that per-practice secrets are sealed under: id:key[,id:key...], 32 bytes in hex each; the first seals, all open."
    )
    cursor_key: SecretStr = Field(description="Key that signs the cursors of lists: 32 bytes in hex.")
    gateway_key: SecretStr = Field(description="Key of the house's own tokens, which stand for API keys: 32 bytes in hex.")
    gateway_proof: SecretStr = Field(description="What the gateway sends along with every request it passes on: 32 bytes in hex.")
    issuer: str = Field(description="`iss` of the access tokens accepted.")
    audience: str = Field(default="authenticated", description="`aud` of the access tokens accepted.")
    jwks_url: str | None = Field(default=None, description="Where the issuer publishes its keys (ES256, RS256).")
    jwt_secret: SecretStr | None = Field(default=None, description="The secret shared with the issuer (HS256); 32 bytes at least.")
    jwt_algorithm: Literal["ES256", "RS256", "HS256"] = Field(
        default="ES256", description="The one signature algorithm accepted: ES256, RS256 or HS256."
    )
    otlp_endpoint: str | None = Field(default=None, description="OTLP/HTTP base URL for traces; none: traces stay inside.")
    log_level: str = Field(default="info", description="debug, info, warning or error.")

    @field_validator("secrets_keys")
    @classmethod
    def _are_keys(cls, value: SecretStr) -> SecretStr:
        LocalKeys.parse(value.get_secret_value())
        return value

    @field_validator("cursor_key", "gateway_key", "gateway_proof")
    @classmethod
    def _is_a_key(cls, value: SecretStr) -> SecretStr:
        key_from_hex(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _keys_go_with_the_algorithm(self) -> Self:
        if (self.jwt_secret is not None) != (self.jwt_algorithm == "HS256") or (self.jwks_url is None) == (self.jwt_secret is None):
            message = "VANTAGE_JWT_SECRET goes with HS256, VANTAGE_JWKS_URL with ES256 and RS256"
            raise ValueError(message)
        if self.jwt_secret is not None and len(self.jwt_secret.get_secret_value()) < 32:
            message = "VANTAGE_JWT_SECRET has at least 32 characters"
            raise ValueError(message)
        return self


class MigrationSettings(BaseSettings):
    """What the migration step needs, and nothing else."""

    model_config = SettingsConfigDict(env_prefix="VANTAGE_", frozen=True, extra="ignore", hide_input_in_errors=True)

    migration_database_url: SecretStr = Field(description="postgresql:// URL of the service's owner role.")
