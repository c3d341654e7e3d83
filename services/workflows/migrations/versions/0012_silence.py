"""How often a timer or a schedule was put off because it failed, since when a run was called, and schedules somebody has to look at."""

from libs.common.migrations import run_sql, tenant_table

revision = "0012"
down_revision = "0011"

_TABLES = """
ALTER TABLE timer ADD COLUMN postponed integer NOT NULL DEFAULT 0, ADD COLUMN failing_since timestamptz;
CREATE INDEX timer_postponed ON timer (practice_id) WHERE postponed > 0;
ALTER TABLE schedule ADD COLUMN postponed integer NOT NULL DEFAULT 0, ADD COLUMN failing_since timestamptz;
ALTER TABLE run_call ADD COLUMN called_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX durable_timer_of_practice ON durable_timer (practice_id, due_at) WHERE NOT held;
CREATE TABLE stuck_schedule (
  practice_id   uuid NOT NULL,
  workflow_id   uuid NOT NULL,
  workflow_name text NOT NULL,
  version       integer NOT NULL,
  code          text NOT NULL,
  since         timestamptz NOT NULL,
  raised_at     timestamptz NOT NULL,
  PRIMARY KEY (practice_id, workflow_id, code),
  FOREIGN KEY (practice_id, workflow_id) REFERENCES workflow (practice_id, id)
);
"""


def upgrade() -> None:
    for statement in filter(str.strip, _TABLES.split(";\n")):
        run_sql(statement)
    tenant_table("stuck_schedule", "workflows", grant="SELECT, INSERT, DELETE")
