"""Definitions and their versions, runs and steps, timers, and what is known of patients, appointments and actions."""

from libs.common.migrations import global_table, run_sql, standard_tables, tenant_table

revision = "0001"
down_revision = None

_DEFINITIONS = """
CREATE TABLE workflow (
  practice_id       uuid NOT NULL,
  id                uuid NOT NULL,
  name              text NOT NULL,
  draft             jsonb NOT NULL,
  version           integer NOT NULL,
  published_version integer,
  created_by        text NOT NULL,
  created_at        timestamptz NOT NULL,
  updated_at        timestamptz NOT NULL,
  PRIMARY KEY (practice_id, id)
);
CREATE INDEX workflow_by_name ON workflow (practice_id, name, id);
CREATE TABLE workflow_version (
  practice_id  uuid NOT NULL,
  workflow_id  uuid NOT NULL,
  version      integer NOT NULL,
  name         text NOT NULL,
  definition   jsonb NOT NULL,
  published_by text NOT NULL,
  published_at timestamptz NOT NULL,
  PRIMARY KEY (practice_id, workflow_id, version),
  FOREIGN KEY (practice_id, workflow_id) REFERENCES workflow (practice_id, id)
);
CREATE TABLE revision (
  practice_id uuid NOT NULL,
  number      bigint NOT NULL,
  PRIMARY KEY (practice_id)
);
CREATE TABLE action (
  name        text PRIMARY KEY,
  description jsonb NOT NULL,
  updated_at  timestamptz NOT NULL
);
"""

_RUNS = """
CREATE TABLE run (
  practice_id      uuid NOT NULL,
  id               uuid NOT NULL,
  workflow_id      uuid NOT NULL,
  workflow_name    text NOT NULL,
  version          integer NOT NULL,
  trigger_event_id uuid NOT NULL,
  trigger_type     text NOT NULL,
  event            jsonb NOT NULL,
  patient_id       uuid,
  appointment_id   uuid,
  status           text NOT NULL CHECK (status IN ('running', 'completed', 'failed', 'cancelled')),
  cursor           integer NOT NULL,
  waiting          boolean NOT NULL,
  error_code       text,
  correlation_id   text NOT NULL,
  traceparent      text NOT NULL,
  started_at       timestamptz NOT NULL,
  finished_at      timestamptz,
  PRIMARY KEY (practice_id, id),
  FOREIGN KEY (practice_id, workflow_id, version) REFERENCES workflow_version (practice_id, workflow_id, version)
);
CREATE UNIQUE INDEX run_once ON run (practice_id, workflow_id, trigger_event_id);
CREATE INDEX run_newest ON run (practice_id, started_at DESC, id DESC);
CREATE INDEX run_of_patient ON run (practice_id, patient_id, started_at DESC) WHERE patient_id IS NOT NULL;
CREATE TABLE step (
  practice_id uuid NOT NULL,
  run_id      uuid NOT NULL,
  step_id     text NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('action', 'wait')),
  status      text NOT NULL CHECK (status IN ('requested', 'waiting', 'succeeded', 'failed', 'unknown', 'skipped', 'cancelled')),
  action      text,
  effect_key  uuid,
  due_at      timestamptz,
  error_code  text,
  started_at  timestamptz NOT NULL,
  finished_at timestamptz,
  PRIMARY KEY (practice_id, run_id, step_id),
  FOREIGN KEY (practice_id, run_id) REFERENCES run (practice_id, id)
);
CREATE TABLE timer (
  practice_id uuid NOT NULL,
  run_id      uuid NOT NULL,
  step_id     text NOT NULL,
  due_at      timestamptz NOT NULL,
  PRIMARY KEY (practice_id, run_id, step_id)
);
CREATE INDEX timer_due ON timer (due_at);
"""

_PROJECTIONS = """
CREATE TABLE patient (
  practice_id uuid NOT NULL,
  id          uuid NOT NULL,
  version     integer NOT NULL,
  given_name  text NOT NULL,
  family_name text NOT NULL,
  email       text,
  phone       text,
  birth_date  date,
  PRIMARY KEY (practice_id, id)
);
CREATE TABLE appointment (
  practice_id uuid NOT NULL,
  id          uuid NOT NULL,
  version     integer NOT NULL,
  status      text NOT NULL,
  title       text NOT NULL,
  source      text NOT NULL,
  starts_at   timestamptz NOT NULL,
  ends_at     timestamptz NOT NULL,
  time_zone   text NOT NULL,
  patient_id  uuid,
  PRIMARY KEY (practice_id, id)
);
CREATE TABLE practice (
  practice_id uuid NOT NULL,
  name        text NOT NULL,
  time_zone   text NOT NULL,
  PRIMARY KEY (practice_id)
);
"""


def upgrade() -> None:
    standard_tables("workflows")
    for statement in filter(str.strip, (_DEFINITIONS + _RUNS + _PROJECTIONS).split(";\n")):
        run_sql(statement)
    for table in ("workflow", "revision", "run", "step", "patient", "appointment", "practice"):
        tenant_table(table, "workflows", grant="SELECT, INSERT, UPDATE")
    tenant_table("workflow_version", "workflows", grant="SELECT, INSERT")
    global_table("action", "workflows", "action catalogue of the platform; belongs to no practice", grant="SELECT, INSERT, UPDATE")
    global_table("timer", "workflows", "ids and times only; due timers are claimed across practices")
