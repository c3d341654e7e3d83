"""Runs of the durable engine: which they are, what is handed over to them, whom to call, and what they wait for."""

from libs.common.migrations import global_table, run_sql, tenant_table

revision = "0008"
down_revision = "0010"

_TABLES = """
ALTER TABLE run ADD COLUMN engine text NOT NULL DEFAULT 'builtin' CHECK (engine IN ('builtin', 'temporal'));
CREATE INDEX run_durable ON run (practice_id, patient_id) WHERE engine = 'temporal' AND status = 'running';
CREATE TABLE run_input (
  practice_id uuid NOT NULL,
  run_id      uuid NOT NULL,
  seq         bigint GENERATED ALWAYS AS IDENTITY,
  kind        text NOT NULL,
  input       jsonb NOT NULL,
  cause       jsonb NOT NULL,
  at          timestamptz NOT NULL,
  PRIMARY KEY (practice_id, run_id, seq),
  FOREIGN KEY (practice_id, run_id) REFERENCES run (practice_id, id)
);
CREATE TABLE run_call (
  practice_id uuid NOT NULL,
  run_id      uuid NOT NULL,
  number      bigint GENERATED ALWAYS AS IDENTITY,
  bulk        boolean NOT NULL,
  asked_at    timestamptz,
  PRIMARY KEY (practice_id, run_id)
);
CREATE INDEX run_call_open ON run_call (asked_at NULLS FIRST, number);
CREATE TABLE durable_timer (
  practice_id uuid NOT NULL,
  run_id      uuid NOT NULL,
  step_id     text NOT NULL,
  due_at      timestamptz NOT NULL,
  held        boolean NOT NULL DEFAULT false,
  PRIMARY KEY (practice_id, run_id, step_id)
);
CREATE INDEX durable_timer_due ON durable_timer (due_at) WHERE NOT held;
"""


def upgrade() -> None:
    for statement in filter(str.strip, _TABLES.split(";\n")):
        run_sql(statement)
    tenant_table("run_input", "workflows", grant="SELECT, INSERT, DELETE")
    global_table("run_call", "workflows", "ids and times only; runs that have something to look at are called across practices")
    global_table("durable_timer", "workflows", "ids and times only; timers the durable engine let pass are found across practices")
