"""What people say became of actions whose outcome was unknown."""

from libs.common.migrations import run_sql, tenant_table

revision = "0011"
down_revision = "0010"

_TABLE = """
CREATE TABLE resolution (
  practice_id uuid NOT NULL,
  effect_key  uuid NOT NULL,
  run_id      uuid NOT NULL,
  step_id     text NOT NULL,
  outcome     text NOT NULL CHECK (outcome IN ('succeeded', 'failed')),
  note        text,
  resolved_by text NOT NULL,
  resolved_at timestamptz NOT NULL,
  answer      text CHECK (answer IN ('succeeded', 'failed')),
  answer_code text,
  answered_at timestamptz,
  PRIMARY KEY (practice_id, effect_key),
  FOREIGN KEY (practice_id, run_id) REFERENCES run (practice_id, id)
);
CREATE INDEX resolution_of_run ON resolution (practice_id, run_id);
"""


def upgrade() -> None:
    for statement in filter(str.strip, _TABLE.split(";\n")):
        run_sql(statement)
    tenant_table("resolution", "workflows", grant="SELECT, INSERT, UPDATE")
