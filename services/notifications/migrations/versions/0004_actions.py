"""Effects as every owner of actions keeps them: of any action, not of e-mails only."""

from libs.common.migrations import run_sql

revision = "0004"
down_revision = "0003"

# Open effects need their request to be gone on with; what the provider called a message is part of the result now.
_EFFECT = """
ALTER TABLE effect ADD COLUMN request jsonb, ADD COLUMN result jsonb;
ALTER TABLE effect NO FORCE ROW LEVEL SECURITY;
ALTER TABLE message NO FORCE ROW LEVEL SECURITY;
UPDATE effect SET result = jsonb_build_object('message_id', message_id, 'provider_message_id', coalesce(provider_message_id, ''))
WHERE state = 'confirmed';
UPDATE effect e SET request = jsonb_build_object('effect_key', e.effect_key, 'action', e.action, 'run_id', e.run_id, 'step_id', e.step_id,
  'patient_id', m.patient_id, 'parameters', jsonb_build_object('subject', m.subject, 'text', m.body))
FROM message m WHERE m.practice_id = e.practice_id AND m.effect_key = e.effect_key AND e.state IN ('planned', 'dispatched', 'unknown');
ALTER TABLE effect FORCE ROW LEVEL SECURITY;
ALTER TABLE message FORCE ROW LEVEL SECURITY;
ALTER TABLE effect DROP COLUMN message_id, DROP COLUMN provider_message_id
"""


def upgrade() -> None:
    for statement in _EFFECT.split(";\n"):
        run_sql(statement)
