"""When somebody has to ask what became of a call."""

from alembic import op

from libs.common.migrations import global_table

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE call_due (
          practice_id uuid NOT NULL,
          call_id     uuid NOT NULL,
          due_at      timestamptz NOT NULL,
          PRIMARY KEY (practice_id, call_id)
        )
        """
    )
    op.execute("CREATE INDEX call_due_at ON call_due (due_at)")
    global_table("call_due", "scheduling", "ids and times only; whoever asks what became of calls looks across practices")
