"""How tests steer runs over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx

from services.workflows.commands import jobs
from services.workflows.rules.expressions.engines import ENGINES
from services.workflows.tests.engine.builtin import BuiltinDriver
from services.workflows.tests.engine.world import Visit, wait
from services.workflows.timers import jobs as kinds_of

Headers = dict[str, str]
Client = httpx.AsyncClient


def by_hand(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"trigger": {"kind": "manual"}, "steps": list(steps or (wait(),)), **more}


async def patients(engine: BuiltinDriver, count: int, email: str | None = "kim.lorenz@patients.example") -> list[Visit]:
    visits = [Visit(email=email) for _ in range(count)]
    await engine.deliver(*(visit.registered() for visit in visits))
    return visits


async def booked(engine: BuiltinDriver, count: int = 1) -> list[Visit]:
    visits = await patients(engine, count)
    await engine.deliver(*(visit.booked() for visit in visits))
    return visits


async def post(client: Client, path: str, headers: Headers, body: Any = None, status: int = 200) -> Any:
    answer = await client.post(path, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def done(engine: BuiltinDriver, client: Client, headers: Headers, job: dict[str, Any], chunks: int = 100) -> dict[str, Any]:
    """Until the job has ended, or so many chunks."""
    do = kinds_of(ENGINES["cel-cpp"], engine.published)
    engine.now += timedelta(seconds=5)
    for _ in range(chunks):
        await jobs.work_on(engine.work, do)
        engine.now += jobs.PACE
        shown: dict[str, Any] = (await client.get(f"/v1/runs/jobs/{job['id']}", headers=headers)).json()
        if shown["status"] != "running":
            break
    return shown


async def statuses(engine: BuiltinDriver) -> list[str]:
    return sorted(run.status for run in await engine.runs())


async def breaks(engine: BuiltinDriver, broken: set[UUID], *workflows: UUID) -> None:
    """These workflows, and no others, compile no more: our code has changed, the process is a new one."""
    broken.clear()
    broken.update(workflows)
    await engine.restart()
