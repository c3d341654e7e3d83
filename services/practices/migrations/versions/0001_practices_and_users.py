"""Practices, their users, and the standard tables."""

from alembic import op

from libs.common.migrations import global_table, run_sql, standard_tables, tenant_table

revision = "0001"
down_revision = None


def upgrade() -> None:
    standard_tables("practices")
    run_sql(
        """
        CREATE TABLE practice (
          practice_id uuid NOT NULL,
          name        text NOT NULL,
          time_zone   text NOT NULL,
          version     integer NOT NULL,
          created_at  timestamptz NOT NULL,
          PRIMARY KEY (practice_id)
        )
        """
    )
    tenant_table("practice", "practices", grant="SELECT, INSERT, UPDATE")
    # What a Vantage admin sees without entering a practice: its name and when it came, nothing of its people.
    run_sql(
        """
        CREATE TABLE directory (
          practice_id uuid PRIMARY KEY,
          name        text NOT NULL,
          created_at  timestamptz NOT NULL
        )
        """
    )
    global_table("directory", "practices", "practice names only; Vantage admins list practices", grant="SELECT, INSERT, UPDATE")
    run_sql(
        """
        CREATE TABLE member (
          practice_id uuid NOT NULL,
          id          uuid NOT NULL,
          subject     text,
          name        text NOT NULL,
          email       text NOT NULL,
          role        text NOT NULL CHECK (role IN ('practice_admin', 'regular_user')),
          active      boolean NOT NULL,
          version     integer NOT NULL,
          created_at  timestamptz NOT NULL,
          PRIMARY KEY (practice_id, id),
          FOREIGN KEY (practice_id) REFERENCES practice (practice_id)
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX member_email ON member (practice_id, email)")
    op.execute("CREATE UNIQUE INDEX member_subject ON member (practice_id, subject) WHERE subject IS NOT NULL")
    tenant_table("member", "practices", grant="SELECT, INSERT, UPDATE")
