"""Who may act, as this service knows it."""

from libs.common.migrations import access_tables

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    access_tables("notifications")
