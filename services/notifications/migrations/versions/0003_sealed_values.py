"""Which practices keep sealed values, for the rotation of keys."""

from libs.common.migrations import sealed_table

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    sealed_table("email_settings", "notifications")
