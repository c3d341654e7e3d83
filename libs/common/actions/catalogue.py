"""Which plug-ins are installed for a service, and saying so on the catalogue topic. Entry-point group ``vantage.actions``."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.util import find_spec

from libs.common.actions.plugin import ActionPlugin
from libs.common.auth import Principal
from libs.common.work import Work
from libs.contracts.actions import ActionDescribed
from libs.contracts.envelope import PLATFORM

GROUP = "vantage.actions"

_LATEST = "SELECT payload FROM outbox WHERE practice_id = $1 AND type = $2 AND subject = $3 ORDER BY seq DESC LIMIT 1"


def discover(owner: str) -> list[ActionPlugin]:
    """The installed plug-ins of one owner, by name. A broken plug-in stops the start and says which."""
    plugins: list[ActionPlugin] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        if not _present(point.module):
            continue
        plugin = point.load()
        if not isinstance(plugin, ActionPlugin):
            message = f"entry point {point.name} of {GROUP} is not an ActionPlugin"
            raise TypeError(message)
        if plugin.owner == owner:
            plugins.append(plugin)
    return plugins


def _present(module: str) -> bool:
    """Whether the package that holds the plug-in is here: an image holds one service, the metadata names the plug-ins of all."""
    package = module.rpartition(".")[0]
    try:
        return not package or find_spec(package) is not None
    except ModuleNotFoundError:
        return False


async def publish_catalogue(work: Work, plugins: list[ActionPlugin]) -> int:
    """Say on the catalogue topic what changed since it was last said; returns how many. Safe to repeat."""
    said = 0
    async with work.batch([PLATFORM], Principal.platform(work.service)) as tx:
        for plugin in plugins:
            description = plugin.description()
            latest = await tx.value(_LATEST, PLATFORM, description.type, description.subject)
            if latest is None or ActionDescribed.model_validate(latest, extra="ignore") != description:
                tx.emit(description)
                said += 1
    return said
