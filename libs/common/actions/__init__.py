"""What a service offers to workflows, and how it is done once: plug-ins, the catalogue, effects, the dispatcher.

An installed package declares an ``ActionPlugin`` under the entry-point group ``vantage.actions``; the service it names as
owner finds it at start, says so in the catalogue and performs it (``Service.performs``). Nothing of ours is changed.
"""

from libs.common.actions.catalogue import GROUP, discover, publish_catalogue
from libs.common.actions.plugin import ActionPlugin, Books, Effect, Request, Settled
from libs.common.actions.troubles import (
    ActionUnknown,
    NewsAwaited,
    NotSent,
    OutcomeUnknown,
    ParametersInvalid,
    Rejected,
    parameters_of,
)

__all__ = [
    "GROUP",
    "ActionPlugin",
    "ActionUnknown",
    "Books",
    "Effect",
    "NewsAwaited",
    "NotSent",
    "OutcomeUnknown",
    "ParametersInvalid",
    "Rejected",
    "Request",
    "Settled",
    "discover",
    "parameters_of",
    "publish_catalogue",
]
