"""Whether patients came: completed, or marked as no-show."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE appointment ADD COLUMN unmarked_status text, ADD COLUMN marked_at timestamptz, DROP CONSTRAINT appointment_status_check,
          ADD CHECK (status IN ('booked', 'confirmed', 'cancelled', 'completed', 'no_show')),
          ADD CONSTRAINT unmarked_while_marked CHECK (
            (unmarked_status IS NULL) = (status NOT IN ('completed', 'no_show')) AND unmarked_status IN ('booked', 'confirmed'))
        """
    )
