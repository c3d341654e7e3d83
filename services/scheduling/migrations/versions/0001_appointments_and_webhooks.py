"""Appointments without double booking, the contacts that match them, Cal.com settings, outbound webhooks."""

from alembic import op

from libs.common.migrations import global_table, run_sql, standard_tables, tenant_table

revision = "0001"
down_revision = None

_APPOINTMENTS = """
CREATE TABLE appointment (
  practice_id        uuid NOT NULL,
  id                 uuid NOT NULL,
  version            integer NOT NULL,
  status             text NOT NULL CHECK (status IN ('booked', 'confirmed', 'cancelled')),
  source             text NOT NULL CHECK (source IN ('local', 'calcom')),
  resource           text NOT NULL,
  title              text NOT NULL,
  starts_at          timestamptz NOT NULL,
  ends_at            timestamptz NOT NULL,
  time_zone          text NOT NULL,
  patient_id         uuid,
  attendee_name      text NOT NULL DEFAULT '',
  attendee_email     text,
  attendee_phone     text,
  external_id        text,
  external_key       text,
  external_sequence  integer,
  exclusive          boolean NOT NULL DEFAULT true,
  double_booked      boolean NOT NULL DEFAULT false,
  created_at         timestamptz NOT NULL,
  updated_at         timestamptz NOT NULL,
  PRIMARY KEY (practice_id, id),
  CHECK (starts_at < ends_at)
);
ALTER TABLE appointment ADD CONSTRAINT no_double_booking EXCLUDE USING gist (
  practice_id WITH =, resource WITH =, tstzrange(starts_at, ends_at) WITH &&
) WHERE (status <> 'cancelled' AND exclusive);
CREATE INDEX appointment_by_time ON appointment (practice_id, starts_at, id);
CREATE INDEX appointment_of_patient ON appointment (practice_id, patient_id, starts_at) WHERE patient_id IS NOT NULL;
CREATE INDEX appointment_unmatched_email ON appointment (practice_id, attendee_email)
  WHERE patient_id IS NULL AND attendee_email IS NOT NULL;
CREATE INDEX appointment_unmatched_phone ON appointment (practice_id, attendee_phone)
  WHERE patient_id IS NULL AND attendee_phone IS NOT NULL;
CREATE TABLE external_booking (
  practice_id    uuid NOT NULL,
  uid            text NOT NULL,
  appointment_id uuid NOT NULL,
  PRIMARY KEY (practice_id, uid),
  FOREIGN KEY (practice_id, appointment_id) REFERENCES appointment (practice_id, id)
);
CREATE TABLE set_aside_notice (
  practice_id uuid NOT NULL,
  id          uuid NOT NULL,
  received_at timestamptz NOT NULL,
  trigger     text NOT NULL,
  reason      text NOT NULL,
  body        bytea NOT NULL,
  PRIMARY KEY (practice_id, id)
);
CREATE TABLE contact (
  practice_id uuid NOT NULL,
  patient_id  uuid NOT NULL,
  version     integer NOT NULL,
  name        text NOT NULL,
  email       text,
  phone       text,
  PRIMARY KEY (practice_id, patient_id)
);
CREATE INDEX contact_by_email ON contact (practice_id, email) WHERE email IS NOT NULL;
CREATE INDEX contact_by_phone ON contact (practice_id, phone) WHERE phone IS NOT NULL;
CREATE TABLE calcom_settings (
  practice_id     uuid NOT NULL,
  webhook_secret  bytea NOT NULL,
  previous_secret bytea,
  previous_until  timestamptz,
  updated_at      timestamptz NOT NULL,
  PRIMARY KEY (practice_id)
);
"""

_WEBHOOKS = """
CREATE TABLE webhook_endpoint (
  practice_id     uuid NOT NULL,
  url             text NOT NULL,
  state           text NOT NULL CHECK (state IN ('active', 'gone')),
  secret          bytea NOT NULL,
  previous_secret bytea,
  previous_until  timestamptz,
  event_types     text[] NOT NULL,
  created_at      timestamptz NOT NULL,
  updated_at      timestamptz NOT NULL,
  PRIMARY KEY (practice_id)
);
CREATE TABLE webhook_delivery (
  practice_id    uuid NOT NULL,
  id             uuid NOT NULL,
  event_id       uuid NOT NULL,
  event_type     text NOT NULL,
  body           bytea NOT NULL,
  state          text NOT NULL CHECK (state IN ('pending', 'delivered', 'exhausted', 'abandoned')),
  attempts       integer NOT NULL DEFAULT 0,
  tries          integer NOT NULL DEFAULT 0,
  next_at        timestamptz,
  last_status    integer,
  created_at     timestamptz NOT NULL,
  finished_at    timestamptz,
  traceparent    text NOT NULL DEFAULT '',
  correlation_id text NOT NULL DEFAULT '',
  PRIMARY KEY (practice_id, id)
);
CREATE UNIQUE INDEX webhook_delivery_event ON webhook_delivery (practice_id, event_id);
CREATE INDEX webhook_delivery_by_time ON webhook_delivery (practice_id, created_at DESC, id DESC);
CREATE TABLE webhook_attempt (
  practice_id  uuid NOT NULL,
  delivery_id  uuid NOT NULL,
  number       integer NOT NULL,
  at           timestamptz NOT NULL,
  status       integer,
  error        text,
  milliseconds integer NOT NULL,
  answer       text NOT NULL,
  PRIMARY KEY (practice_id, delivery_id, number),
  FOREIGN KEY (practice_id, delivery_id) REFERENCES webhook_delivery (practice_id, id)
);
CREATE TABLE webhook_due (
  practice_id uuid NOT NULL,
  delivery_id uuid NOT NULL,
  due_at      timestamptz NOT NULL,
  PRIMARY KEY (practice_id, delivery_id)
);
CREATE INDEX webhook_due_at ON webhook_due (due_at);
"""


def upgrade() -> None:
    standard_tables("scheduling")
    for statement in filter(str.strip, (_APPOINTMENTS + _WEBHOOKS).split(";\n")):
        run_sql(statement)
    for table in ("appointment", "external_booking", "contact", "calcom_settings", "webhook_delivery"):
        tenant_table(table, "scheduling", grant="SELECT, INSERT, UPDATE")
    for table in ("set_aside_notice", "webhook_attempt"):
        tenant_table(table, "scheduling", grant="SELECT, INSERT")
    tenant_table("webhook_endpoint", "scheduling")
    global_table("webhook_due", "scheduling", "ids and times only; the dispatcher claims across practices")
    op.execute("ALTER TABLE webhook_due SET (fillfactor = 70)")
