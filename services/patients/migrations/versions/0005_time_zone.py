"""The time zone a patient lives in, where it is not the practice's."""

from libs.common.migrations import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql("ALTER TABLE patient ADD COLUMN time_zone text")
