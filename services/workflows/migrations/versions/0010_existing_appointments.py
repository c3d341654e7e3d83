"""Jobs that take up appointments booked before a workflow was published, and what they look for; runs about nobody, to count them."""

from libs.common.migrations import run_sql

revision = "0010"
down_revision = "0009"

_STATEMENTS = """
ALTER TABLE job DROP CONSTRAINT job_kind_check, ADD CHECK (kind IN ('start', 'runs', 'release', 'include'));
ALTER TABLE appointment ADD COLUMN resource text NOT NULL DEFAULT '', ADD COLUMN external_id text;
CREATE INDEX appointment_to_come ON appointment (practice_id, starts_at) WHERE status <> 'cancelled';
CREATE INDEX run_about_appointment ON run (practice_id, appointment_id, workflow_id) WHERE appointment_id IS NOT NULL;
CREATE INDEX run_about_nobody ON run (practice_id, workflow_id, started_at) WHERE patient_id IS NULL;
"""


def upgrade() -> None:
    for statement in filter(str.strip, _STATEMENTS.split(";\n")):
        run_sql(statement)
