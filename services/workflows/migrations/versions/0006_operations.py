"""Runs held with their workflow, jobs over many runs or patients, what is stuck, secrets of inbound webhooks."""

from libs.common.migrations import effect_tables, global_table, run_sql, sealed_table, tenant_table

revision = "0006"
down_revision = "0005"

_RUNS = """
ALTER TABLE run ADD COLUMN held boolean NOT NULL DEFAULT false;
CREATE INDEX run_held ON run (practice_id, workflow_id, id) WHERE status = 'running' AND held;
CREATE INDEX run_open ON run (practice_id, id) WHERE status = 'running';
CREATE INDEX run_of_event ON run (practice_id, trigger_event_id);
CREATE INDEX timer_of_practice ON timer (practice_id, due_at) WHERE NOT held;
"""
_TABLES = """
CREATE TABLE job (
  practice_id uuid NOT NULL,
  id          uuid NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('start', 'runs', 'release')),
  workflow_id uuid,
  wish        jsonb NOT NULL,
  status      text NOT NULL CHECK (status IN ('running', 'finished', 'cancelled')),
  total       integer NOT NULL,
  done        integer NOT NULL DEFAULT 0,
  passed      integer NOT NULL DEFAULT 0,
  failed      integer NOT NULL DEFAULT 0,
  after       uuid,
  created_by  text NOT NULL,
  created_at  timestamptz NOT NULL,
  updated_at  timestamptz NOT NULL,
  finished_at timestamptz,
  PRIMARY KEY (practice_id, id)
);
CREATE INDEX job_newest ON job (practice_id, created_at DESC, id DESC);
CREATE TABLE job_due (
  practice_id uuid NOT NULL,
  job_id      uuid NOT NULL,
  due_at      timestamptz NOT NULL,
  PRIMARY KEY (practice_id, job_id)
);
CREATE INDEX job_due_at ON job_due (due_at);
CREATE TABLE stuck (
  practice_id uuid NOT NULL,
  run_id      uuid NOT NULL,
  step_id     text NOT NULL,
  code        text NOT NULL,
  since       timestamptz NOT NULL,
  raised_at   timestamptz NOT NULL,
  PRIMARY KEY (practice_id, run_id, step_id, code),
  FOREIGN KEY (practice_id, run_id) REFERENCES run (practice_id, id)
);
CREATE TABLE webhook_secret (
  practice_id    uuid NOT NULL,
  workflow_id    uuid NOT NULL,
  secret         bytea NOT NULL,
  previous       bytea,
  previous_until timestamptz,
  created_by     text NOT NULL,
  created_at     timestamptz NOT NULL,
  PRIMARY KEY (practice_id, workflow_id),
  FOREIGN KEY (practice_id, workflow_id) REFERENCES workflow (practice_id, id)
);
"""


def upgrade() -> None:
    for statement in filter(str.strip, (_RUNS + _TABLES).split(";\n")):
        run_sql(statement)
    tenant_table("job", "workflows", grant="SELECT, INSERT, UPDATE")
    tenant_table("stuck", "workflows", grant="SELECT, INSERT, UPDATE, DELETE")
    tenant_table("webhook_secret", "workflows", grant="SELECT, INSERT, UPDATE, DELETE")
    sealed_table("webhook_secret", "workflows")
    effect_tables("workflows")
    global_table("job_due", "workflows", "ids and times only; due jobs are claimed across practices")
