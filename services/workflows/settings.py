"""What the workflows service is told beyond what every service is."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from libs.common.settings import ServiceSettings


class Settings(ServiceSettings):
    cel_engine: Literal["cel-cpp", "cel-python"] = Field(
        default="cel-cpp", description="The CEL engine: cel-cpp (typed, bounded) or cel-python (second opinion; untyped, slow)."
    )
    workflow_engine: Literal["builtin", "temporal"] = Field(
        default="builtin", description="The engine new runs begin on: builtin or temporal. Runs stay on the one they began on."
    )
    temporal_address: str | None = Field(
        default=None, description="host:port of Temporal. While it is set, runs that began there go on, whatever engine new ones begin on."
    )
    temporal_namespace: str = Field(default="default", description="The Temporal namespace runs are in.")

    @field_validator("temporal_address", mode="before")
    @classmethod
    def _empty_is_none(cls, value: str | None) -> str | None:
        return value or None

    @model_validator(mode="after")
    def _temporal_can_be_reached(self) -> Self:
        if self.workflow_engine == "temporal" and self.temporal_address is None:
            message = "VANTAGE_WORKFLOW_ENGINE=temporal goes with VANTAGE_TEMPORAL_ADDRESS"
            raise ValueError(message)
        return self
