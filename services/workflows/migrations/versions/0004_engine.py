"""What runs remember and wait for, what happened, who may go through how often, and the times of schedules."""

from libs.common.migrations import global_table, run_sql, tenant_table

revision = "0004"
down_revision = "0003"

_RUNS = """
ALTER TABLE run ADD COLUMN memory jsonb NOT NULL DEFAULT '{}', ADD COLUMN paused boolean NOT NULL DEFAULT false,
  ADD COLUMN anchored boolean NOT NULL DEFAULT false, ADD COLUMN rerun integer NOT NULL DEFAULT 0, ADD COLUMN failed_step text;
DROP INDEX run_once;
CREATE UNIQUE INDEX run_once ON run (practice_id, workflow_id, trigger_event_id, rerun);
CREATE INDEX run_active ON run (practice_id, workflow_id, patient_id) WHERE status = 'running';
CREATE INDEX run_of_appointment ON run (practice_id, appointment_id) WHERE status = 'running' AND appointment_id IS NOT NULL;
CREATE INDEX run_failed ON run (practice_id, workflow_id, error_code, failed_step) WHERE status = 'failed';
ALTER TABLE step DROP CONSTRAINT step_kind_check, DROP CONSTRAINT step_status_check, ADD COLUMN input jsonb, ADD COLUMN output jsonb,
  ADD COLUMN attempt integer NOT NULL DEFAULT 0;
ALTER TABLE step ADD CHECK (kind IN ('action', 'wait', 'wait_until', 'wait_for', 'branch', 'stop', 'condition')),
  ADD CHECK (status IN ('requested', 'waiting', 'retrying', 'succeeded', 'failed', 'unknown', 'skipped', 'cancelled'));
CREATE INDEX step_open ON step (practice_id, started_at) WHERE status IN ('requested', 'unknown');
ALTER TABLE timer ADD COLUMN held boolean NOT NULL DEFAULT false;
DROP INDEX timer_due;
CREATE INDEX timer_due ON timer (due_at) WHERE NOT held;
ALTER TABLE workflow ADD COLUMN paused boolean NOT NULL DEFAULT false;
ALTER TABLE practice ADD COLUMN opening_hours jsonb NOT NULL DEFAULT '[]', ADD COLUMN holidays jsonb NOT NULL DEFAULT '[]';
"""

_TABLES = """
CREATE TABLE event_wait (
  practice_id uuid NOT NULL,
  run_id      uuid NOT NULL,
  step_id     text NOT NULL,
  number      integer NOT NULL,
  event_type  text NOT NULL,
  subject     uuid NOT NULL,
  PRIMARY KEY (practice_id, run_id, step_id, number),
  FOREIGN KEY (practice_id, run_id) REFERENCES run (practice_id, id)
);
CREATE INDEX event_wait_subject ON event_wait (practice_id, event_type, subject);
CREATE TABLE event_log (
  practice_id    uuid NOT NULL,
  event_id       uuid NOT NULL,
  type           text NOT NULL,
  patient_id     uuid,
  appointment_id uuid,
  at             timestamptz NOT NULL,
  recorded_at    timestamptz NOT NULL,
  data           jsonb NOT NULL,
  seen           jsonb NOT NULL,
  decisions      jsonb NOT NULL,
  PRIMARY KEY (practice_id, event_id)
);
CREATE INDEX event_log_of_patient ON event_log (practice_id, patient_id, recorded_at);
CREATE INDEX event_log_of_type ON event_log (practice_id, type, recorded_at);
CREATE INDEX event_log_of_appointment ON event_log (practice_id, appointment_id, recorded_at) WHERE appointment_id IS NOT NULL;
CREATE TABLE enrolment (
  practice_id uuid NOT NULL,
  workflow_id uuid NOT NULL,
  key         text NOT NULL,
  run_id      uuid NOT NULL,
  at          timestamptz NOT NULL,
  PRIMARY KEY (practice_id, workflow_id, key),
  FOREIGN KEY (practice_id, workflow_id) REFERENCES workflow (practice_id, id)
);
CREATE TABLE suppression (
  practice_id uuid NOT NULL,
  patient_id  uuid NOT NULL,
  reason      text NOT NULL,
  created_by  text NOT NULL,
  created_at  timestamptz NOT NULL,
  PRIMARY KEY (practice_id, patient_id)
);
CREATE TABLE schedule (
  practice_id uuid NOT NULL,
  workflow_id uuid NOT NULL,
  due_at      timestamptz NOT NULL,
  doing       timestamptz[] NOT NULL DEFAULT '{}',
  after       uuid,
  PRIMARY KEY (practice_id, workflow_id)
);
CREATE INDEX schedule_due ON schedule (due_at);
"""


def upgrade() -> None:
    for statement in filter(str.strip, (_RUNS + _TABLES).split(";\n")):
        run_sql(statement)
    for table in ("event_wait", "event_log", "enrolment", "suppression"):
        tenant_table(table, "workflows", grant="SELECT, INSERT, UPDATE, DELETE")
    global_table("schedule", "workflows", "ids and times only; due schedules are claimed across practices")
