"""What of the identity provider's user object counts for us. Pure. Format: Supabase Auth, ``auth.users`` and its admin API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)


class ProviderUnreachable(Exception):
    """The identity provider cannot be asked right now; the text is a code."""


@dataclass(frozen=True)
class InviteAnswer:
    """What came of asking the provider to invite: the person's id there, or a code saying why not (yet)."""

    identity: str | None
    problem: str | None = None


class PersonThere(BaseModel):
    """A person as the provider knows them at ``changed_at``. Deleted is for ever: no later report brings them back."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    id: str = Field(min_length=1, max_length=100)
    email: str = ""
    updated_at: AwareDatetime
    banned_until: AwareDatetime | None = None
    deleted_at: AwareDatetime | None = None
    gone: bool = False

    @field_validator("email", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> str:
        return str(value or "").lower()

    @model_validator(mode="after")
    def _deleted(self) -> Self:
        return self if self.gone or self.deleted_at is None else self.model_copy(update={"gone": True})

    @property
    def changed_at(self) -> datetime:
        return FOR_EVER if self.gone else self.updated_at

    def banned_at(self, moment: datetime) -> bool:
        return self.banned_until is not None and self.banned_until > moment


class UserChange(BaseModel):
    """A database webhook's report about ``auth.users``."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    type: Literal["INSERT", "UPDATE", "DELETE"]
    table: Literal["users"]
    record: dict[str, Any] | None = None
    old_record: dict[str, Any] | None = None

    def person(self) -> PersonThere:
        """Raises ``ValueError``."""
        if self.type == "DELETE":
            return PersonThere.model_validate({**(self.old_record or {}), "gone": True})
        return PersonThere.model_validate(self.record or {})


class TokenRequest(BaseModel):
    """What the custom access-token hook asks."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    user_id: str = Field(min_length=1, max_length=100)
    claims: dict[str, Any]

    @property
    def wanted(self) -> Any:
        """The practice the person works in at present, as the provider's ``app_metadata`` (not editable by them) says."""
        metadata = self.claims.get("app_metadata")
        return metadata.get("practice_id") if isinstance(metadata, dict) else None
