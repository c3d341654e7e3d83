"""Migrations: one Alembic history per service, run by its owner role before the code, never at start-up.

The helpers below write the tables every service has and put row security on tenant tables; a migration of a service
calls them, so that a table without a declared tenancy is noticed by the catalogue test.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command, op
from alembic.config import Config

MIGRATIONS = Path(__file__).resolve().parents[2] / "services"

_STANDARD_TABLES = """
CREATE TABLE outbox (
  seq             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id              uuid NOT NULL UNIQUE,
  topic           text NOT NULL,
  key             text NOT NULL,
  practice_id     uuid NOT NULL,
  type            text NOT NULL,
  source          text NOT NULL,
  subject         text NOT NULL,
  time            timestamptz NOT NULL,
  specversion     text NOT NULL DEFAULT '1.0',
  datacontenttype text NOT NULL DEFAULT 'application/json',
  dataschema      text NOT NULL DEFAULT '',
  actor           text NOT NULL DEFAULT '',
  correlation_id  text NOT NULL DEFAULT '',
  causation_id    text NOT NULL DEFAULT '',
  traceparent     text NOT NULL DEFAULT '',
  tracestate      text NOT NULL DEFAULT '',
  payload         json NOT NULL CHECK (octet_length(payload::text) <= 900000)
);
CREATE TABLE inbox (
  event_id    uuid PRIMARY KEY,
  received_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE parked_subject (
  practice_id uuid NOT NULL,
  subject     text NOT NULL,
  since       timestamptz NOT NULL DEFAULT now(),
  attempts    integer NOT NULL DEFAULT 0,
  retry_at    timestamptz,
  PRIMARY KEY (practice_id, subject)
);
CREATE INDEX parked_subject_due ON parked_subject (retry_at) WHERE retry_at IS NOT NULL;
CREATE TABLE parked (
  practice_id uuid NOT NULL,
  seq         bigint GENERATED ALWAYS AS IDENTITY,
  id          uuid NOT NULL,
  topic       text NOT NULL,
  partition   integer NOT NULL,
  "offset"    bigint NOT NULL,
  event_id    uuid,
  type        text NOT NULL DEFAULT '',
  subject     text NOT NULL,
  headers     jsonb NOT NULL,
  value       bytea NOT NULL,
  code        text NOT NULL,
  attempts    integer NOT NULL DEFAULT 1,
  parked_at   timestamptz NOT NULL DEFAULT now(),
  state       text NOT NULL DEFAULT 'parked' CHECK (state IN ('parked', 'redriven', 'discarded')),
  resolved_at timestamptz,
  note        text,
  PRIMARY KEY (practice_id, id)
);
CREATE UNIQUE INDEX parked_position ON parked (practice_id, topic, partition, "offset");
CREATE UNIQUE INDEX parked_event ON parked (practice_id, event_id) WHERE event_id IS NOT NULL;
CREATE INDEX parked_waiting ON parked (practice_id, subject, seq) WHERE state = 'parked';
CREATE TABLE idempotency (
  practice_id uuid NOT NULL,
  key         text NOT NULL,
  operation   text NOT NULL,
  principal   text NOT NULL,
  fingerprint bytea NOT NULL,
  status      integer NOT NULL,
  headers     jsonb NOT NULL,
  body        bytea NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (practice_id, principal, operation, key)
);
"""


def run_sql(sql: str) -> None:
    """Run several plain statements as they stand."""
    op.execute(sql)


def standard_tables(service: str) -> None:
    """The tables of the backbone and the doors. Insert-only for the application: outbox."""
    for statement in filter(str.strip, _STANDARD_TABLES.split(";\n")):
        op.execute(statement)
    tenant_table("outbox", service, grant="SELECT, INSERT")
    tenant_table("parked", service, grant="SELECT, INSERT, UPDATE")
    tenant_table("idempotency", service, grant="SELECT, INSERT, DELETE")
    global_table("inbox", service, "event ids only; a batch of many practices marks them in one statement", grant="SELECT, INSERT, DELETE")
    global_table(
        "parked_subject", service, "opaque subjects only; the redrive duty looks across practices", grant="SELECT, INSERT, UPDATE, DELETE"
    )
    op.execute(f"GRANT SELECT ON outbox TO debezium; GRANT USAGE ON SCHEMA {service} TO debezium, auditor")
    auditor_reads("outbox", "id, practice_id, seq, time, topic")


def access_tables(service: str) -> None:
    """What the service knows of who may act: the projection ``libs.common.access`` keeps."""
    op.execute(
        """
        CREATE TABLE access_practice (
          practice_id uuid PRIMARY KEY,
          suspended   boolean NOT NULL,
          origins     text[] NOT NULL,
          version     integer NOT NULL
        )
        """
    )
    op.execute(
        """
        CREATE TABLE access_member (
          practice_id uuid NOT NULL,
          identity    text NOT NULL,
          user_id     uuid NOT NULL,
          role        text NOT NULL,
          active      boolean NOT NULL,
          version     integer NOT NULL,
          PRIMARY KEY (practice_id, identity)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE access_entry (
          practice_id uuid NOT NULL,
          id          uuid NOT NULL,
          identity    text NOT NULL,
          expires_at  timestamptz NOT NULL,
          version     integer NOT NULL,
          PRIMARY KEY (practice_id, id)
        )
        """
    )
    op.execute("CREATE INDEX access_entry_identity ON access_entry (practice_id, identity, expires_at DESC)")
    reason = "status and public web origins of practices; duties that claim across practices leave suspended ones alone"
    global_table("access_practice", service, reason, grant="SELECT, INSERT, UPDATE")
    tenant_table("access_member", service, grant="SELECT, INSERT, UPDATE")
    tenant_table("access_entry", service, grant="SELECT, INSERT, UPDATE")


def effect_tables(service: str) -> None:
    """What an owner of actions knows of each effect (``libs.common.actions``), and when the next step of one is due.

    ``request`` is kept only while an effect that leaves the house is open: it holds the action's parameters.
    """
    op.execute(
        """
        CREATE TABLE effect (
          practice_id    uuid NOT NULL,
          effect_key     uuid NOT NULL,
          action         text NOT NULL,
          run_id         uuid NOT NULL,
          step_id        text NOT NULL,
          state          text NOT NULL CHECK (state IN ('planned', 'dispatched', 'confirmed', 'failed', 'unknown')),
          attempts       integer NOT NULL DEFAULT 0,
          request        jsonb,
          result         jsonb,
          error_code     text,
          correlation_id text NOT NULL,
          causation_id   text NOT NULL,
          traceparent    text NOT NULL,
          planned_at     timestamptz NOT NULL,
          dispatched_at  timestamptz,
          finished_at    timestamptz,
          PRIMARY KEY (practice_id, effect_key)
        )
        """
    )
    tenant_table("effect", service, grant="SELECT, INSERT, UPDATE")
    effect_due_table(service)


def effect_doubts() -> None:
    """Whether a try of an open effect may have happened: of one that may be repeated, and is."""
    op.execute("ALTER TABLE effect ADD COLUMN in_doubt boolean NOT NULL DEFAULT false")


def effect_due_table(service: str) -> None:
    """When somebody has to look after an open effect."""
    op.execute(
        """
        CREATE TABLE effect_due (
          practice_id uuid NOT NULL,
          effect_key  uuid NOT NULL,
          due_at      timestamptz NOT NULL,
          PRIMARY KEY (practice_id, effect_key)
        )
        """
    )
    op.execute("CREATE INDEX effect_due_at ON effect_due (due_at)")
    global_table("effect_due", service, "ids and times only; recovery looks across practices")


def tenant_table(table: str, service: str, *, grant: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
    """Row security, enabled and forced, by the signed tenant context; grants for the application role."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    rule = "practice_id = ANY ((SELECT tenancy.practices())::uuid[])"
    op.execute(f"CREATE POLICY tenant ON {table} FOR ALL USING ({rule}) WITH CHECK ({rule})")
    op.execute(f"GRANT {grant} ON {table} TO {service}_app")


def sealed_table(table: str, service: str) -> None:
    """A tenant table that keeps sealed values (``Service.keeps_sealed``).

    Row security hides which practices have rows in it. So that a rotation of keys finds them all, a trigger writes the
    practice of every row down, and those of the rows that are there already are written down now.
    """
    op.execute("CREATE TABLE IF NOT EXISTS sealed_practice (practice_id uuid PRIMARY KEY)")
    global_table("sealed_practice", service, "practice ids only; a rotation of keys goes from practice to practice", grant="SELECT, INSERT")
    op.execute(
        f"""
        CREATE OR REPLACE FUNCTION note_sealed_practice() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
        BEGIN
          INSERT INTO {service}.sealed_practice VALUES (NEW.practice_id) ON CONFLICT DO NOTHING;
          RETURN NULL;
        END
        $$
        """
    )
    op.execute(f"CREATE TRIGGER note_sealed_practice AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION note_sealed_practice()")
    op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(f"INSERT INTO sealed_practice SELECT DISTINCT practice_id FROM {table} ON CONFLICT DO NOTHING")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def auditor_reads(table: str, columns: str) -> None:
    """Let the reconciler see, of all practices, which rows exist: ids and times, no content."""
    op.execute(f"GRANT SELECT ({columns}) ON {table} TO auditor")
    op.execute(f"CREATE POLICY auditor ON {table} FOR SELECT TO auditor USING (true)")


def global_table(table: str, service: str, reason: str, *, grant: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
    """A table outside tenancy: ids and times only. The reason stands in the catalogue and is tested to be there."""
    quoted = reason.replace("'", "''")
    op.execute(f"COMMENT ON TABLE {table} IS 'global: {quoted}'")
    op.execute(f"GRANT {grant} ON {table} TO {service}_app")


def migrate(service: str, owner_url: str, revision: str = "head") -> None:
    """Bring the service's schema to the newest version, or to one before. Repeatable; refuses nothing that is already done.

    ``owner_url`` is a ``postgresql://`` URL of the owner role.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS / service / "migrations"))
    config.attributes["url"] = owner_url.replace("postgresql://", "postgresql+psycopg://", 1)
    config.attributes["schema"] = service
    command.upgrade(config, revision)
