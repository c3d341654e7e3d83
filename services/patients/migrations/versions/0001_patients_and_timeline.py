"""Patients, their timeline, and the standard tables."""

from alembic import op

from libs.common.migrations import run_sql, standard_tables, tenant_table

revision = "0001"
down_revision = None


def upgrade() -> None:
    standard_tables("patients")
    run_sql(
        """
        CREATE TABLE patient (
          practice_id uuid NOT NULL,
          id          uuid NOT NULL,
          version     integer NOT NULL,
          given_name  text NOT NULL,
          family_name text NOT NULL,
          email       text,
          phone       text,
          birth_date  date,
          created_at  timestamptz NOT NULL,
          updated_at  timestamptz NOT NULL,
          PRIMARY KEY (practice_id, id)
        )
        """
    )
    op.execute("CREATE INDEX patient_by_name ON patient (practice_id, family_name, given_name, id)")
    op.execute("CREATE INDEX patient_by_email ON patient (practice_id, email) WHERE email IS NOT NULL")
    tenant_table("patient", "patients", grant="SELECT, INSERT, UPDATE")
    run_sql(
        """
        CREATE TABLE timeline_entry (
          practice_id    uuid NOT NULL,
          id             uuid NOT NULL,
          patient_id     uuid NOT NULL,
          at             timestamptz NOT NULL,
          kind           text NOT NULL,
          subject        text NOT NULL,
          actor          text NOT NULL,
          correlation_id text NOT NULL,
          details        jsonb NOT NULL,
          PRIMARY KEY (practice_id, id)
        )
        """
    )
    op.execute("CREATE INDEX timeline_of_patient ON timeline_entry (practice_id, patient_id, at DESC, id DESC)")
    tenant_table("timeline_entry", "patients", grant="SELECT, INSERT")
    # Effect keys performed: a repeated request changes nothing.
    run_sql(
        """
        CREATE TABLE effect (
          practice_id  uuid NOT NULL,
          effect_key   uuid NOT NULL,
          action       text NOT NULL,
          performed_at timestamptz NOT NULL,
          PRIMARY KEY (practice_id, effect_key)
        )
        """
    )
    tenant_table("effect", "patients", grant="SELECT, INSERT")
