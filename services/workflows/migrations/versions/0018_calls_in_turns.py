"""When a run that was called is told next, how often it was told, and when each practice was last answered by the durable engine."""

from libs.common.migrations import global_table, run_sql

revision = "0018"
down_revision = "0017"

_TABLES = """
ALTER TABLE run_call ADD COLUMN tell_at timestamptz NOT NULL DEFAULT now(), ADD COLUMN asked integer NOT NULL DEFAULT 0,
  ADD COLUMN asked_first timestamptz;
DROP INDEX run_call_open;
CREATE INDEX run_call_line ON run_call (practice_id, bulk, tell_at, number);
CREATE INDEX run_call_out ON run_call (practice_id, bulk, asked_at) WHERE asked_at IS NOT NULL;
CREATE TABLE durable_progress (
  practice_id uuid PRIMARY KEY,
  answered_at timestamptz NOT NULL
);
"""


def upgrade() -> None:
    for statement in filter(str.strip, _TABLES.split(";\n")):
        run_sql(statement)
    global_table("durable_progress", "workflows", "ids and times only; whether a practice's runs get on is asked across practices")
