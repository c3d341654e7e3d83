"""The time zone a patient lives in; indexes for what grows."""

from libs.common.migrations import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql("ALTER TABLE patient ADD COLUMN time_zone text")
