"""Keep the stories that are not kept yet: ``python -m services.workflows.tests.interpreted.record``. Kept ones stay as they are."""

from __future__ import annotations

import json
from pathlib import Path

from services.workflows.tests.interpreted.replaying import replay
from services.workflows.tests.interpreted.scenes import STORIES

KEPT = Path(__file__).parent


def record() -> None:
    for name, story in STORIES.items():
        path = KEPT / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps({**story, "said": replay(story)}, indent=1) + "\n")


if __name__ == "__main__":
    record()
