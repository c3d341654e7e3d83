"""What the practices service is told besides what every service is."""

from pydantic import Field, SecretStr

from libs.common.settings import ServiceSettings


class Settings(ServiceSettings):
    auth_url: str = Field(description="Where Supabase Auth answers: https://<ref>.supabase.co/auth/v1.")
    auth_service_key: SecretStr = Field(description="The service role's key of Supabase Auth.")
    hook_secrets: SecretStr = Field(
        description="Secrets of Auth's hooks, `v1,whsec_<base64>`; several separated by `|` count while one is replaced."
    )
    site_url: str = Field(description="Where people land after following an invitation.")
