"""What is given up after a try that may have happened is unknown."""

from libs.common.migrations import effect_doubts

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    effect_doubts()
