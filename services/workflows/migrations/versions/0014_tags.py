"""The tags of each patient, as expressions see them. Those given before this migration are known once they are given or taken again."""

from libs.common.migrations import run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_sql("ALTER TABLE patient ADD COLUMN tags text[] NOT NULL DEFAULT '{}'")
