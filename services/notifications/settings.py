"""What the notifications service is told beyond what every service is."""

from pydantic import Field

from libs.common.settings import ServiceSettings


class Settings(ServiceSettings):
    sendgrid_url: str = Field(default="https://api.sendgrid.com", description="SendGrid's API, or a simulator's.")
    sendgrid_concurrency: int = Field(default=32, ge=1, le=500, description="Requests to SendGrid at the same time.")
    lookup_after_seconds: float = Field(
        default=900.0, ge=0, description="How long an unknown outcome rests before it is looked up: SendGrid's activity lags."
    )
    requests_allow_private: bool = Field(
        default=False, description="Requests of workflows may use http and loopback addresses. Development only."
    )
