"""Effects as every owner of actions keeps them."""

from alembic import op

from libs.common.migrations import effect_due_table, run_sql

revision = "0003"
down_revision = "0002"

# Effects performed before this stay known by their keys: whoever asks again is still not heard twice.
_EFFECT = """
ALTER TABLE effect RENAME COLUMN performed_at TO planned_at;
ALTER TABLE effect
  ADD COLUMN run_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  ADD COLUMN step_id text NOT NULL DEFAULT '',
  ADD COLUMN state text NOT NULL DEFAULT 'confirmed' CHECK (state IN ('planned', 'dispatched', 'confirmed', 'failed', 'unknown')),
  ADD COLUMN attempts integer NOT NULL DEFAULT 0,
  ADD COLUMN request jsonb,
  ADD COLUMN result jsonb,
  ADD COLUMN error_code text,
  ADD COLUMN correlation_id text NOT NULL DEFAULT '',
  ADD COLUMN causation_id text NOT NULL DEFAULT '',
  ADD COLUMN traceparent text NOT NULL DEFAULT '',
  ADD COLUMN dispatched_at timestamptz,
  ADD COLUMN finished_at timestamptz
"""


def upgrade() -> None:
    for statement in _EFFECT.split(";\n"):
        run_sql(statement)
    op.execute("GRANT UPDATE ON effect TO patients_app")
    effect_due_table("patients")
