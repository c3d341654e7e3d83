"""The ledger: logs, entries, heads, checkpoints. Entries and checkpoints are never changed: by privilege and by trigger."""

from alembic import op

from libs.common.migrations import auditor_reads, global_table, run_sql, standard_tables, tenant_table

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE log (
  practice_id uuid NOT NULL,
  origin      text NOT NULL UNIQUE,
  created_at  timestamptz NOT NULL,
  PRIMARY KEY (practice_id)
);
CREATE TABLE entry (
  practice_id    uuid NOT NULL,
  seq            bigint NOT NULL CHECK (seq >= 0),
  event_id       uuid NOT NULL,
  type           text NOT NULL,
  subject        text NOT NULL,
  correlation_id text NOT NULL,
  recorded_at    timestamptz NOT NULL,
  entry          bytea NOT NULL CHECK (octet_length(entry) <= 65535),
  leaf           bytea NOT NULL CHECK (octet_length(leaf) = 32),
  PRIMARY KEY (practice_id, seq),
  FOREIGN KEY (practice_id) REFERENCES log (practice_id)
);
CREATE UNIQUE INDEX entry_event ON entry (practice_id, event_id);
CREATE INDEX entry_subject ON entry (practice_id, subject, seq);
CREATE INDEX entry_correlation ON entry (practice_id, correlation_id, seq);
CREATE TABLE head (
  practice_id uuid NOT NULL,
  size        bigint NOT NULL,
  frontier    bytea NOT NULL,
  PRIMARY KEY (practice_id),
  FOREIGN KEY (practice_id) REFERENCES log (practice_id)
);
CREATE TABLE checkpoint (
  practice_id uuid NOT NULL,
  size        bigint NOT NULL,
  root        bytea NOT NULL,
  frontier    bytea NOT NULL,
  note        text NOT NULL,
  signed_at   timestamptz NOT NULL,
  PRIMARY KEY (practice_id, size),
  FOREIGN KEY (practice_id) REFERENCES log (practice_id)
);
CREATE TABLE unsigned (
  practice_id uuid NOT NULL,
  since       timestamptz NOT NULL,
  PRIMARY KEY (practice_id)
);
"""

_REFUSE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = '42501';
END
$$
"""


def upgrade() -> None:
    standard_tables("audit")
    for statement in filter(str.strip, _TABLES.split(";\n")):
        run_sql(statement)
    run_sql(_REFUSE)
    for table in ("log", "entry", "checkpoint"):
        tenant_table(table, "audit", grant="SELECT, INSERT")
        op.execute(f"CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()")
        op.execute(f"CREATE TRIGGER append_only_table BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()")
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_rows")
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_table")
    tenant_table("head", "audit", grant="SELECT, INSERT, UPDATE")
    auditor_reads("entry", "practice_id, seq, event_id")
    global_table("unsigned", "audit", "practice ids and times only; the signer looks across practices")
