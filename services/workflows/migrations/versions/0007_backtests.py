"""Backtests and the queue they wait in; the event log in the order it was written, for those who read all of it."""

from libs.common.migrations import global_table, run_sql, tenant_table

revision = "0007"
down_revision = "0006"

_TABLES = """
CREATE TABLE backtest (
  practice_id      uuid NOT NULL,
  id               uuid NOT NULL,
  workflow_id      uuid NOT NULL,
  version          integer NOT NULL,
  definition       jsonb NOT NULL,
  compared_version integer,
  since            timestamptz NOT NULL,
  until            timestamptz NOT NULL,
  status           text NOT NULL CHECK (status IN ('queued', 'running', 'done', 'failed', 'cancelled')),
  events_total     integer,
  events_done      integer NOT NULL DEFAULT 0,
  attempts         integer NOT NULL DEFAULT 0,
  result           jsonb,
  error_code       text,
  created_by       text NOT NULL,
  created_at       timestamptz NOT NULL,
  finished_at      timestamptz,
  PRIMARY KEY (practice_id, id),
  FOREIGN KEY (practice_id, workflow_id) REFERENCES workflow (practice_id, id),
  FOREIGN KEY (practice_id, workflow_id, compared_version) REFERENCES workflow_version (practice_id, workflow_id, version)
);
CREATE INDEX backtest_newest ON backtest (practice_id, workflow_id, created_at DESC, id DESC);
CREATE INDEX backtest_old ON backtest (practice_id, created_at);
CREATE TABLE backtest_queue (
  practice_id uuid PRIMARY KEY,
  backtest_id uuid NOT NULL,
  queued_at   timestamptz NOT NULL,
  lease_until timestamptz
);
CREATE INDEX event_log_in_order ON event_log (practice_id, recorded_at, at, event_id);
"""


def upgrade() -> None:
    for statement in filter(str.strip, _TABLES.split(";\n")):
        run_sql(statement)
    tenant_table("backtest", "workflows", grant="SELECT, INSERT, UPDATE, DELETE")
    global_table("backtest_queue", "workflows", "ids and times only; waiting backtests are claimed across practices")
