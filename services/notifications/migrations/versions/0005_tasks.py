"""Tasks for the staff."""

from libs.common.migrations import run_sql, tenant_table

revision = "0005"
down_revision = "0004"

_TABLES = """
CREATE TABLE task (
  practice_id   uuid NOT NULL,
  id            uuid NOT NULL,
  patient_id    uuid,
  title         text NOT NULL,
  text          text,
  due_at        timestamptz,
  assignee_role text,
  assignee_id   uuid,
  run_id        uuid NOT NULL,
  created_at    timestamptz NOT NULL,
  completed_at  timestamptz,
  completed_by  text,
  PRIMARY KEY (practice_id, id)
);
CREATE INDEX task_open ON task (practice_id, id DESC) WHERE completed_at IS NULL;
CREATE INDEX task_of_patient ON task (practice_id, patient_id, id DESC) WHERE patient_id IS NOT NULL
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        run_sql(statement)
    tenant_table("task", "notifications", grant="SELECT, INSERT, UPDATE")
