"""Tasks that people create: no run asked for them."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE task ALTER COLUMN run_id DROP NOT NULL, ADD COLUMN created_by text")
    op.execute("CREATE INDEX task_of_assignee ON task (practice_id, assignee_id, id DESC) WHERE assignee_id IS NOT NULL")
