"""Calls with patients, the practice's account at Retell, effects of actions, and whose notices were set aside."""

from alembic import op

from libs.common.migrations import effect_tables, run_sql, sealed_table, tenant_table

revision = "0004"
down_revision = "0003"

_TABLES = """
CREATE TABLE retell_settings (
  practice_id          uuid NOT NULL,
  api_key              bytea NOT NULL,
  webhook_key          bytea NOT NULL,
  previous_webhook_key bytea,
  previous_until       timestamptz,
  from_number          text NOT NULL,
  agent_id             text NOT NULL,
  updated_at           timestamptz NOT NULL,
  PRIMARY KEY (practice_id)
);
CREATE TABLE call (
  practice_id          uuid NOT NULL,
  id                   uuid NOT NULL,
  direction            text NOT NULL CHECK (direction IN ('inbound', 'outbound')),
  status               text NOT NULL CHECK (status IN ('requested', 'registered', 'ongoing', 'ended', 'not_connected', 'failed')),
  provider             text NOT NULL,
  external_id          text,
  effect_key           uuid,
  patient_id           uuid,
  agent_id             text NOT NULL,
  from_number          text,
  to_number            text,
  started_at           timestamptz,
  ended_at             timestamptz,
  duration_seconds     integer,
  disconnection_reason text,
  successful           boolean,
  in_voicemail         boolean,
  sentiment            text,
  summary              bytea,
  transcript           bytea,
  told                 text[] NOT NULL DEFAULT '{}',
  created_at           timestamptz NOT NULL,
  updated_at           timestamptz NOT NULL,
  PRIMARY KEY (practice_id, id)
);
CREATE UNIQUE INDEX call_named ON call (practice_id, external_id) WHERE external_id IS NOT NULL;
CREATE UNIQUE INDEX call_asked_for ON call (practice_id, effect_key) WHERE effect_key IS NOT NULL;
CREATE INDEX call_by_time ON call (practice_id, created_at DESC, id DESC);
CREATE INDEX call_of_patient ON call (practice_id, patient_id, created_at DESC) WHERE patient_id IS NOT NULL;
"""


def upgrade() -> None:
    for statement in filter(str.strip, _TABLES.split(";\n")):
        run_sql(statement)
    for table in ("retell_settings", "call"):
        tenant_table(table, "scheduling", grant="SELECT, INSERT, UPDATE")
        sealed_table(table, "scheduling")
    effect_tables("scheduling")
    op.execute("ALTER TABLE set_aside_notice ADD COLUMN source text NOT NULL DEFAULT 'calcom'")
