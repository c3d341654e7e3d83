"""What is given up after a try that may have happened is unknown."""

from libs.common.migrations import effect_doubts

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    effect_doubts()
