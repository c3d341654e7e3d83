"""Which runs began as one of many. Runs begun before this count as live ones."""

from libs.common.migrations import run_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_sql("ALTER TABLE run ADD COLUMN bulk boolean NOT NULL DEFAULT false")
