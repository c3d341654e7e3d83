"""What a service offers to workflows: action plug-ins, found by entry point, published to the catalogue.

A plug-in describes; the owner's command handler performs. Entry-point group ``vantage.actions``.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from libs.common.auth import Principal
from libs.common.errors import Refused
from libs.common.work import Work
from libs.contracts.actions import ActionDescribed, ActionRequest
from libs.contracts.envelope import PLATFORM

GROUP = "vantage.actions"
P = TypeVar("P", bound=BaseModel)

_LATEST = "SELECT payload FROM outbox WHERE practice_id = $1 AND type = $2 AND subject = $3 ORDER BY seq DESC LIMIT 1"


class ActionUnknown(Refused):
    """This service has no such action."""


class ParametersInvalid(Refused):
    """The action's parameters are not what it takes."""


@dataclass(frozen=True)
class ActionPlugin:
    """One action. ``idempotent``: repeating it changes nothing. ``lookup``: an unknown outcome can be looked up.

    ``personal_data`` names the kinds of personal data it uses, for the disclosure record.
    """

    name: str
    owner: str
    title: str
    help: str
    parameters: type[BaseModel]
    result: type[BaseModel]
    idempotent: bool
    lookup: bool
    personal_data: tuple[str, ...] = ()

    def description(self) -> ActionDescribed:
        return ActionDescribed(
            name=self.name,
            owner_service=self.owner,
            title=self.title,
            help=self.help,
            parameters_schema=self.parameters.model_json_schema(),
            result_schema=self.result.model_json_schema(),
            idempotent=self.idempotent,
            lookup=self.lookup,
            personal_data=list(self.personal_data),
        )


def parameters_of(request: ActionRequest, model: type[P]) -> P:
    """The request's parameters as the plug-in's model. Raises ``ParametersInvalid`` naming the first field."""
    try:
        return model.model_validate(request.parameters)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise ParametersInvalid(pointer="/" + "/".join(str(part) for part in first["loc"]), problem=first["type"]) from error


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
