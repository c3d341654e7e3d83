"""Which version of each workflow was in force between which publications, so that an event need not name all that its filters kept out."""

from libs.common.migrations import run_sql, tenant_table

revision = "0017"
down_revision = "0016"

_STATEMENTS = """
CREATE TABLE in_force (
  practice_id uuid NOT NULL,
  workflow_id uuid NOT NULL,
  since       bigint NOT NULL,
  until       bigint,
  version     integer NOT NULL,
  events      text[] NOT NULL,
  PRIMARY KEY (practice_id, workflow_id, since),
  FOREIGN KEY (practice_id, workflow_id) REFERENCES workflow (practice_id, id)
);
CREATE UNIQUE INDEX in_force_now ON in_force (practice_id, workflow_id) WHERE until IS NULL;
ALTER TABLE event_log ADD COLUMN revision bigint;
ALTER TABLE workflow NO FORCE ROW LEVEL SECURITY;
ALTER TABLE workflow_version NO FORCE ROW LEVEL SECURITY;
INSERT INTO in_force (practice_id, workflow_id, since, version, events)
SELECT w.practice_id, w.id, 0, v.version, CASE
  WHEN v.definition -> 'trigger' ->> 'event' IS NOT NULL THEN ARRAY[v.definition -> 'trigger' ->> 'event']
  WHEN v.definition -> 'trigger' ->> 'kind' = 'anchored'
    THEN ARRAY['vantage.scheduling.appointment-booked.v1', 'vantage.scheduling.appointment-rescheduled.v1']
  ELSE '{}' END
FROM workflow w JOIN workflow_version v ON v.practice_id = w.practice_id AND v.workflow_id = w.id AND v.version = w.published_version;
ALTER TABLE workflow FORCE ROW LEVEL SECURITY;
ALTER TABLE workflow_version FORCE ROW LEVEL SECURITY;
"""


def upgrade() -> None:
    """What is in force now counts from the beginning: events of before name every workflow, and have no revision."""
    for statement in filter(str.strip, _STATEMENTS.split(";\n")):
        run_sql(statement)
    tenant_table("in_force", "workflows", grant="SELECT, INSERT, UPDATE")
