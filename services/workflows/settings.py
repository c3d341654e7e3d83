"""What the workflows service is told beyond what every service is."""

from typing import Literal

from pydantic import Field

from libs.common.settings import ServiceSettings


class Settings(ServiceSettings):
    cel_engine: Literal["cel-cpp", "cel-python"] = Field(
        default="cel-cpp", description="The CEL engine: cel-cpp (typed, bounded) or cel-python (second opinion; untyped, slow)."
    )
