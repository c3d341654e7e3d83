"""Messages, the effects that send them, contacts, e-mail settings."""

from libs.common.migrations import global_table, run_sql, standard_tables, tenant_table

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE contact (
  practice_id uuid NOT NULL,
  patient_id  uuid NOT NULL,
  version     integer NOT NULL,
  name        text NOT NULL,
  email       text,
  PRIMARY KEY (practice_id, patient_id)
);
CREATE TABLE email_settings (
  practice_id    uuid NOT NULL,
  api_key        bytea NOT NULL,
  sender_email   text NOT NULL,
  sender_name    text NOT NULL,
  webhook_key    text NOT NULL,
  updated_at     timestamptz NOT NULL,
  PRIMARY KEY (practice_id)
);
CREATE TABLE message (
  practice_id uuid NOT NULL,
  id          uuid NOT NULL,
  effect_key  uuid NOT NULL,
  patient_id  uuid NOT NULL,
  to_email    text NOT NULL,
  to_name     text NOT NULL,
  subject     text NOT NULL,
  body        text NOT NULL,
  status      text NOT NULL,
  status_at   timestamptz NOT NULL,
  created_at  timestamptz NOT NULL,
  PRIMARY KEY (practice_id, id)
);
CREATE UNIQUE INDEX message_effect ON message (practice_id, effect_key);
CREATE INDEX message_of_patient ON message (practice_id, patient_id, id DESC);
CREATE TABLE effect (
  practice_id         uuid NOT NULL,
  effect_key          uuid NOT NULL,
  message_id          uuid NOT NULL,
  run_id              uuid NOT NULL,
  step_id             text NOT NULL,
  action              text NOT NULL,
  state               text NOT NULL CHECK (state IN ('planned', 'dispatched', 'confirmed', 'failed', 'unknown')),
  attempts            integer NOT NULL DEFAULT 0,
  provider_message_id text,
  error_code          text,
  correlation_id      text NOT NULL,
  causation_id        text NOT NULL,
  traceparent         text NOT NULL,
  planned_at          timestamptz NOT NULL,
  dispatched_at       timestamptz,
  finished_at         timestamptz,
  PRIMARY KEY (practice_id, effect_key),
  FOREIGN KEY (practice_id, message_id) REFERENCES message (practice_id, id)
);
CREATE TABLE delivery_event (
  practice_id uuid NOT NULL,
  event_key   text NOT NULL,
  message_id  uuid NOT NULL,
  status      text NOT NULL,
  at          timestamptz NOT NULL,
  PRIMARY KEY (practice_id, event_key),
  FOREIGN KEY (practice_id, message_id) REFERENCES message (practice_id, id)
);
CREATE INDEX delivery_event_of_message ON delivery_event (practice_id, message_id);
CREATE TABLE effect_due (
  practice_id uuid NOT NULL,
  effect_key  uuid NOT NULL,
  due_at      timestamptz NOT NULL,
  PRIMARY KEY (practice_id, effect_key)
);
CREATE INDEX effect_due_at ON effect_due (due_at);
"""


def upgrade() -> None:
    standard_tables("notifications")
    for statement in filter(str.strip, _TABLES.split(";\n")):
        run_sql(statement)
    for table in ("contact", "email_settings", "message", "effect"):
        tenant_table(table, "notifications", grant="SELECT, INSERT, UPDATE")
    tenant_table("delivery_event", "notifications", grant="SELECT, INSERT")
    global_table("effect_due", "notifications", "ids and times only; recovery looks across practices")
