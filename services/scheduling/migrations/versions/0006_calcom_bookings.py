"""The practice's account at Cal.com, and the bookings its workflows ask for there."""

from alembic import op

from libs.common.migrations import tenant_table

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE calcom_settings ADD COLUMN api_key bytea, ADD COLUMN event_type_id integer")
    # A booking in somebody's name needs the name as they spell it; of patients nobody has changed since only the other is known.
    op.execute("ALTER TABLE contact ADD COLUMN shown_name text, ADD COLUMN time_zone text")
    op.execute(
        """
        CREATE TABLE booking_request (
          practice_id    uuid NOT NULL,
          effect_key     uuid NOT NULL,
          patient_id     uuid NOT NULL,
          event_type_id  integer NOT NULL,
          starts_at      timestamptz NOT NULL,
          minutes        integer,
          title          text NOT NULL,
          attendee_name  text NOT NULL,
          attendee_email text NOT NULL,
          time_zone      text NOT NULL,
          asked_at       timestamptz NOT NULL,
          PRIMARY KEY (practice_id, effect_key)
        )
        """
    )
    tenant_table("booking_request", "scheduling", grant="SELECT, INSERT")
