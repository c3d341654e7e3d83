"""How an action says that it did not succeed. The kind decides what happens next; the code and the message are shown to people.

============================  ==========================================================================================
Raised                        Means
============================  ==========================================================================================
``Unavailable``, ``NotSent``  nothing happened and it may pass: tried again, in the end a failure marked ``retryable``
another ``Trouble``           nothing happened and trying again changes nothing: failed
``NewsAwaited``, ``Stale``    only inside a transaction: the request is put back and comes again
``OutcomeUnknown``            it may have happened: looked up if the plug-in can, else shown; never blindly repeated
============================  ==========================================================================================
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from libs.common.errors import NotFound, Refused, Trouble, Unavailable
from libs.contracts.actions import ActionRequest

P = TypeVar("P", bound=BaseModel)


class ActionUnknown(Refused):
    """This service has no such action."""


class ParametersInvalid(Refused):
    """The action's parameters are not what it takes."""


class NewsAwaited(NotFound):
    """What this is about is not known here yet."""


class NotSent(Unavailable):
    """It did not get there; it may be tried again."""

    def __init__(self, reason: str = "not_sent", *, after_seconds: float | None = None) -> None:
        """``reason``: a stable code. ``after_seconds``: the pause the other side asked for."""
        super().__init__()
        self.reason = reason
        self.after_seconds = after_seconds


class Rejected(Refused):
    """The other side refused it."""

    def __init__(self, reason: str = "rejected") -> None:
        super().__init__()
        self.reason = reason


class OutcomeUnknown(Trouble):
    """Whether it happened is unknown."""

    def __init__(self, reason: str = "answer_lost") -> None:
        super().__init__()
        self.reason = reason


def code_of(trouble: Trouble) -> str:
    """The stable code an outcome carries."""
    return str(getattr(trouble, "reason", None) or trouble.code)


def parameters_of(request: ActionRequest, model: type[P]) -> P:
    """The request's parameters as the plug-in's model. Raises ``ParametersInvalid`` naming the first field, never its value."""
    try:
        return model.model_validate(request.parameters)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise ParametersInvalid(pointer="/" + "/".join(str(part) for part in first["loc"]), problem=first["type"]) from error
