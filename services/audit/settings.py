"""What the audit service is told beyond what every service is."""

from pydantic import Field, SecretStr

from libs.common.settings import ServiceSettings


class Settings(ServiceSettings):
    ledger_signing_key: SecretStr = Field(description="Ed25519 seed that signs checkpoints: 32 bytes in hex.")
    ledger_origin: str = Field(default="ledger.vantage.example", description="First part of every log's origin and the signer's name.")
