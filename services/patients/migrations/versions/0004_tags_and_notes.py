"""Tags of a practice, which patients have them, and notes."""

from libs.common.migrations import run_sql, tenant_table

revision = "0004"
down_revision = "0003"

_TABLES = """
CREATE TABLE tag (
  practice_id uuid NOT NULL,
  id          uuid NOT NULL,
  key         text NOT NULL,
  name        text NOT NULL,
  created_at  timestamptz NOT NULL,
  PRIMARY KEY (practice_id, id)
);
CREATE UNIQUE INDEX tag_key ON tag (practice_id, key);
CREATE TABLE patient_tag (
  practice_id uuid NOT NULL,
  patient_id  uuid NOT NULL,
  tag_id      uuid NOT NULL,
  added_at    timestamptz NOT NULL,
  added_by    text NOT NULL,
  PRIMARY KEY (practice_id, patient_id, tag_id),
  FOREIGN KEY (practice_id, patient_id) REFERENCES patient (practice_id, id),
  FOREIGN KEY (practice_id, tag_id) REFERENCES tag (practice_id, id)
);
CREATE INDEX patient_tag_of_tag ON patient_tag (practice_id, tag_id, patient_id);
CREATE TABLE note (
  practice_id uuid NOT NULL,
  id          uuid NOT NULL,
  patient_id  uuid NOT NULL,
  text        text NOT NULL,
  added_at    timestamptz NOT NULL,
  added_by    text NOT NULL,
  removed_at  timestamptz,
  removed_by  text,
  PRIMARY KEY (practice_id, id),
  FOREIGN KEY (practice_id, patient_id) REFERENCES patient (practice_id, id)
);
CREATE INDEX note_of_patient ON note (practice_id, patient_id, id DESC) WHERE removed_at IS NULL
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        run_sql(statement)
    tenant_table("tag", "patients", grant="SELECT, INSERT, UPDATE")
    tenant_table("patient_tag", "patients", grant="SELECT, INSERT, DELETE")
    tenant_table("note", "patients", grant="SELECT, INSERT, UPDATE")
