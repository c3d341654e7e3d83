"""What the practices service is told: nothing beyond what every service is."""

from libs.common.settings import ServiceSettings


class Settings(ServiceSettings):
    pass
