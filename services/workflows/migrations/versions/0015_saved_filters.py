"""Filters over patients as the patients service keeps them. What is left of a removed one says only that it is gone."""

from libs.common.migrations import run_sql, tenant_table

revision = "0015"
down_revision = "0014"

_TABLE = """
CREATE TABLE patient_filter (
  practice_id uuid NOT NULL,
  id          uuid NOT NULL,
  version     integer NOT NULL,
  removed     boolean NOT NULL DEFAULT false,
  owned_by    text NOT NULL,
  visibility  text NOT NULL,
  name        text NOT NULL,
  condition   jsonb NOT NULL,
  PRIMARY KEY (practice_id, id)
)
"""


def upgrade() -> None:
    run_sql(_TABLE)
    tenant_table("patient_filter", "workflows", grant="SELECT, INSERT, UPDATE")
