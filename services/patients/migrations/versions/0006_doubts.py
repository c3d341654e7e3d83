"""What is given up after a try that may have happened is unknown."""

from libs.common.migrations import effect_doubts

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    effect_doubts()
