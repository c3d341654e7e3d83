"""The time zone a patient lives in, where it is not the practice's."""

from libs.common.migrations import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql("ALTER TABLE patient ADD COLUMN time_zone text")
