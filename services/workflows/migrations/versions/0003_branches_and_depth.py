"""Branches and stops as steps of a run; how deep a run stands in a chain of runs that caused each other."""

from libs.common.migrations import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql("ALTER TABLE step DROP CONSTRAINT step_kind_check, ADD COLUMN detail text")
    run_sql("ALTER TABLE step ADD CHECK (kind IN ('action', 'wait', 'branch', 'stop'))")
    run_sql("ALTER TABLE run ADD COLUMN depth integer NOT NULL DEFAULT 0")
