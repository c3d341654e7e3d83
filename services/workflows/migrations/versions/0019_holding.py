"""Jobs that hold the runs of a paused workflow."""

from libs.common.migrations import run_sql

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    run_sql("ALTER TABLE job DROP CONSTRAINT job_kind_check, ADD CHECK (kind IN ('start', 'runs', 'hold', 'release', 'include'))")
