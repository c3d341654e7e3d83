"""Profiles and suspension, invitations, identities, API keys, entries; who may act, as every service knows it."""

from alembic import op

from libs.common.migrations import access_tables, global_table, run_sql, tenant_table

revision = "0002"
down_revision = "0001"

_PLATFORM = "00000000-0000-0000-0000-000000000000"


def upgrade() -> None:
    _practices()
    _members()
    _invitations()
    _keys()
    _entries()
    access_tables("practices")


def _practices() -> None:
    run_sql(
        """
        ALTER TABLE practice ADD COLUMN suspended boolean NOT NULL DEFAULT false, ADD COLUMN suspended_reason text,
          ADD COLUMN profile jsonb NOT NULL DEFAULT '{}', ADD COLUMN origins text[] NOT NULL DEFAULT '{}'
        """
    )
    run_sql("ALTER TABLE directory ADD COLUMN suspended boolean NOT NULL DEFAULT false")


def _members() -> None:
    run_sql("ALTER TABLE member ADD COLUMN status text, ADD COLUMN ended_by text, ADD COLUMN provider_at timestamptz")
    run_sql("UPDATE member SET status = CASE WHEN active THEN 'active' ELSE 'deactivated' END")
    run_sql("ALTER TABLE member DROP COLUMN active, DROP CONSTRAINT member_role_check, ALTER status SET NOT NULL")
    run_sql("ALTER TABLE member ADD CHECK (status IN ('invited', 'active', 'deactivated', 'revoked'))")
    # A Vantage admin belongs to the platform and nobody else does: no mistake in code can make one of a practice's people.
    run_sql(
        f"""
        ALTER TABLE member ADD CHECK (role IN ('vantage_admin', 'practice_admin', 'regular_user')),
          ADD CHECK ((role = 'vantage_admin') = (practice_id = '{_PLATFORM}'))
        """
    )
    # Which practices a person of the identity provider belongs to: what a log-in must find before it knows a practice.
    run_sql(
        """
        CREATE TABLE identity (
          identity    text NOT NULL,
          practice_id uuid NOT NULL,
          user_id     uuid NOT NULL,
          chosen_at   timestamptz,
          PRIMARY KEY (identity, practice_id)
        )
        """
    )
    global_table("identity", "practices", "ids only; a log-in names a person, not a practice", grant="SELECT, INSERT, UPDATE")


def _invitations() -> None:
    run_sql(
        """
        CREATE TABLE invitation (
          practice_id uuid NOT NULL,
          user_id     uuid NOT NULL,
          invited_by  text NOT NULL,
          expires_at  timestamptz NOT NULL,
          asked_at    timestamptz NOT NULL,
          sent_at     timestamptz,
          sent_count  integer NOT NULL DEFAULT 0,
          problem     text,
          PRIMARY KEY (practice_id, user_id),
          FOREIGN KEY (practice_id, user_id) REFERENCES member (practice_id, id)
        )
        """
    )
    tenant_table("invitation", "practices", grant="SELECT, INSERT, UPDATE")
    run_sql(
        """
        CREATE TABLE invitation_due (
          practice_id uuid NOT NULL,
          user_id     uuid NOT NULL,
          due_at      timestamptz NOT NULL,
          attempts    integer NOT NULL DEFAULT 0,
          PRIMARY KEY (practice_id, user_id)
        )
        """
    )
    op.execute("CREATE INDEX invitation_due_at ON invitation_due (due_at)")
    global_table("invitation_due", "practices", "ids and times only; the sending duty claims across practices")


def _keys() -> None:
    run_sql(
        """
        CREATE TABLE api_key (
          practice_id  uuid NOT NULL,
          id           uuid NOT NULL,
          name         text NOT NULL,
          prefix       text NOT NULL,
          digest       bytea NOT NULL,
          scopes       text[] NOT NULL,
          addresses    text[] NOT NULL,
          created_by   text NOT NULL,
          created_at   timestamptz NOT NULL,
          expires_at   timestamptz,
          ends_at      timestamptz,
          last_used_at timestamptz,
          replaces     uuid,
          PRIMARY KEY (practice_id, id)
        )
        """
    )
    tenant_table("api_key", "practices", grant="SELECT, INSERT, UPDATE")
    run_sql("CREATE TABLE api_key_directory (public_id text PRIMARY KEY, practice_id uuid NOT NULL, key_id uuid NOT NULL)")
    global_table("api_key_directory", "practices", "ids only; a key names itself, not its practice", grant="SELECT, INSERT")


def _entries() -> None:
    run_sql(
        """
        CREATE TABLE admin_entry (
          practice_id uuid NOT NULL,
          id          uuid NOT NULL,
          user_id     uuid NOT NULL,
          identity    text NOT NULL,
          reason      text NOT NULL,
          opened_at   timestamptz NOT NULL,
          expires_at  timestamptz NOT NULL,
          version     integer NOT NULL,
          PRIMARY KEY (practice_id, id),
          FOREIGN KEY (practice_id) REFERENCES practice (practice_id)
        )
        """
    )
    op.execute("CREATE INDEX admin_entry_opened ON admin_entry (practice_id, opened_at DESC, id DESC)")
    tenant_table("admin_entry", "practices", grant="SELECT, INSERT, UPDATE")
