"""What the scheduling service is told beyond what every service is."""

from pydantic import Field

from libs.common.settings import ServiceSettings


class Settings(ServiceSettings):
    webhooks_allow_private: bool = Field(
        default=False, description="Outbound webhooks may use http and loopback addresses. Development only."
    )
    webhook_first_retry_seconds: float = Field(default=5.0, gt=0, description="Pause before an outbound webhook's first retry.")
    webhook_concurrency: int = Field(default=32, ge=1, le=500, description="Outbound webhooks attempted at the same time, at most.")
    retell_url: str = Field(default="https://api.retellai.com", description="Retell's API, or a simulator's.")
    calcom_url: str = Field(default="https://api.cal.com", description="Cal.com's API, or a simulator's.")
    call_concurrency: int = Field(
        default=10, ge=1, le=500, description="Calls, bookings and cancellations asked for at the same time, each at most."
    )
    lookup_after_seconds: float = Field(default=30.0, ge=0, description="How long an unknown outcome rests before it is looked up.")
