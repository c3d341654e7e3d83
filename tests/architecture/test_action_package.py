"""An installed package adds an action without touching ours: found, described in the catalogue, performed by its owner."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web

from libs.common.actions import discover, publish_catalogue
from libs.common.auth import Principal
from libs.common.work import Work
from libs.contracts.actions import ActionDescribed, Outcome
from libs.contracts.envelope import PLATFORM
from libs.contracts.notifications import PerformAction
from libs.testing.stage import Stage
from tests.architecture.doors import build

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "vantage-action-sms"


@pytest.fixture(scope="session")
def service_name() -> str:
    return "notifications"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as an installer would lay it out: built by its own backend, unpacked, with its metadata. No network."""
    place = tmp_path_factory.mktemp("package")
    source = shutil.copytree(EXAMPLE, place / "source", ignore=shutil.ignore_patterns("__pycache__", "test_*"))
    command = "from setuptools import build_meta; build_meta.build_wheel('../wheels')"
    subprocess.run([sys.executable, "-c", command], cwd=source, check=True, capture_output=True)
    (wheel,) = (place / "wheels").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    return place / "site"


@pytest.fixture
def beside(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package is importable, as in an environment it was installed into."""
    monkeypatch.syspath_prepend(str(installed))
    importlib.invalidate_caches()
    yield
    sys.modules.pop("vantage_action_sms", None)


@pytest.fixture
async def gateway(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, Any]]:
    """What the SMS gateway took, by the id it was given."""
    taken: dict[str, Any] = {}

    async def send(request: web.Request) -> web.StreamResponse:
        taken[request.match_info["id"]] = await request.json()
        return web.json_response({"parts": 1})

    app = web.Application()
    app.router.add_put("/messages/{id}", send)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("SMS_GATEWAY_TOKEN", "of-a-test")
    monkeypatch.setenv("SMS_GATEWAY_URL", f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield taken
    await runner.cleanup()


def test_is_not_there_before_it_is_installed() -> None:
    assert "send_sms" not in {plugin.name for plugin in discover("notifications")}


@pytest.mark.usefixtures("beside")
class TestInstalled:
    def test_is_found_by_its_owner_and_by_nobody_else(self) -> None:
        assert "send_sms" in {plugin.name for plugin in discover("notifications")}
        assert "send_sms" not in {plugin.name for plugin in discover("patients")}

    async def test_is_in_the_catalogue(self, work: Work) -> None:
        await publish_catalogue(work, discover("notifications"))
        async with work.batch([PLATFORM], Principal.platform("notifications")) as tx:
            told = await tx.value("SELECT payload FROM outbox WHERE practice_id = $1 AND subject = 'action/send_sms'", PLATFORM)
        described = ActionDescribed.model_validate(told)
        assert (described.owner_service, described.lookup, described.personal_data) == ("notifications", True, ["phone", "text"])
        assert described.parameters_schema["properties"]["to"]["title"] == "To"

    async def test_is_performed_once_by_the_service_as_it_stands(self, work: Work, practice: UUID, gateway: dict[str, Any]) -> None:
        plugin = next(plugin for plugin in build("notifications")._plugins if plugin.name == "send_sms")
        async with Stage(work, plugin, practice) as stage:
            request = PerformAction(
                effect_key=uuid4(), action="send_sms", run_id=uuid4(), step_id="sms", parameters={"to": "+4930555001234", "text": "Hello"}
            )
            await stage.ask(request, request)
            await stage.ask(request)
            (finished,) = await stage.outcomes()
        assert (finished.outcome, finished.result) == (Outcome.SUCCEEDED, {"parts": 1})
        assert gateway == {str(request.effect_key): {"to": "+4930555001234", "text": "Hello"}}
