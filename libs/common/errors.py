"""Seven kinds of trouble, and what each means at the HTTP door and at the Kafka door.

============  ====================================  =====  =====================================================
Kind          Means                                 HTTP   Kafka
============  ====================================  =====  =====================================================
NotFound      no such thing for *you*               404    perhaps on its way: parked, redriven by itself
Conflict      already so                            409    done
Stale         somebody changed it meanwhile         409    again at once, on fresh state
Refused       a rule says no                        422    parked until an operator redrives
Forbidden     you may not                           403    parked until an operator redrives
Unavailable   not now; outside trouble              503    parked, redriven by itself
Held          not now; somebody's decision          503    parked until released
============  ====================================  =====  =====================================================

Malformed input never gets that far: ``Malformed`` is 422 with pointers, and parked at the Kafka door.
A class's docstring is its message, its name is its stable code (``SlotTaken`` -> ``slot_taken``).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar


class Trouble(Exception):
    """Something expected went wrong."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "trouble"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" not in cls.__dict__:
            cls.code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __init__(self, *, pointer: str | None = None, **details: Any) -> None:
        """``pointer``: JSON pointer (RFC 6901) of the offending field. ``details`` hold ids and numbers, never personal data."""
        super().__init__(self.message)
        self.pointer = pointer
        self.details = details

    @property
    def message(self) -> str:
        return (type(self).__doc__ or "").strip().split("\n", 1)[0]


class NotFound(Trouble):
    """There is no such thing."""

    status = 404


class Conflict(Trouble):
    """It is already so."""

    status = 409


class Stale(Trouble):
    """Somebody changed it meanwhile."""

    status = 409


class VersionMismatch(Stale):
    """It has another version by now; read it again."""

    status = 412


class Refused(Trouble):
    """A rule says no."""

    status = 422


class Forbidden(Trouble):
    """You may not do this."""

    status = 403


class Unavailable(Trouble):
    """This does not work right now."""

    status = 503

    def __init__(self, *, retry_after_seconds: int = 1, pointer: str | None = None, **details: Any) -> None:
        super().__init__(pointer=pointer, **details)
        self.retry_after_seconds = retry_after_seconds


class Held(Unavailable):
    """This waits until it is released."""


class Unauthenticated(Trouble):
    """A valid bearer token is needed."""

    status = 401


class Malformed(Trouble):
    """The input is not what this operation takes."""

    status = 422
