"""Filters over patients that people keep under a name."""

from libs.common.migrations import run_sql, tenant_table

revision = "0006"
down_revision = "0005"

_TABLE = """
CREATE TABLE patient_filter (
  practice_id uuid NOT NULL,
  id          uuid NOT NULL,
  version     integer NOT NULL,
  owned_by       text NOT NULL,
  visibility  text NOT NULL CHECK (visibility IN ('private', 'shared')),
  key         text NOT NULL,
  name        text NOT NULL,
  condition   jsonb NOT NULL,
  created_at  timestamptz NOT NULL,
  updated_at  timestamptz NOT NULL,
  PRIMARY KEY (practice_id, id)
);
CREATE UNIQUE INDEX patient_filter_shared ON patient_filter (practice_id, key) WHERE visibility = 'shared';
CREATE UNIQUE INDEX patient_filter_private ON patient_filter (practice_id, owned_by, key) WHERE visibility = 'private';
CREATE INDEX patient_filter_by_name ON patient_filter (practice_id, name, id)
"""


def upgrade() -> None:
    for statement in _TABLE.split(";\n"):
        run_sql(statement)
    tenant_table("patient_filter", "patients")
