"""What the scheduling service is told beyond what every service is."""

from pydantic import Field

from libs.common.settings import ServiceSettings


class Settings(ServiceSettings):
    webhooks_allow_private: bool = Field(default=False, description="Outbound webhooks may go to private and loopback addresses. Development only.")
    webhook_first_retry_seconds: float = Field(default=5.0, gt=0, description="Pause before an outbound webhook's first retry.")
