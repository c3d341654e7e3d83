"""``python -m services.workflows.tests.histories.record``: record the histories anew, after the loop was changed on purpose.

Keep the old files beside the new ones for as long as runs of the old code may be under way: that they still replay is the point.
"""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

from temporalio.testing import WorkflowEnvironment

from deploy.native.state import ROOT
from deploy.native.temporal import skipping_server
from services.workflows.tests.histories.scenes import RECORDED, SCENES, Stage

_TRACES = re.compile(r'"stackTrace":\s*"(?:[^"\\]|\\.)*"')
"""Paths of whatever machine it was recorded on."""


async def main() -> None:
    program = str(skipping_server(ROOT / ".vantage"))
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=program, test_server_startup_timeout=timedelta(seconds=60), identity="recorder"
    ) as environment:
        stage = Stage(environment)
        for number, (name, scene) in enumerate(SCENES.items(), 1):
            for part, history in enumerate(await stage.play(scene, number), 1):
                (RECORDED / f"{name}.{part}.json").write_text(_TRACES.sub('"stackTrace": ""', history.to_json()) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
