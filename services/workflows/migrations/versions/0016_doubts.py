"""What is given up after a try that may have happened is unknown."""

from libs.common.migrations import effect_doubts

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    effect_doubts()
