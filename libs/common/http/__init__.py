"""The HTTP door: who calls, once per idempotency key, one transaction, problem+json for every error."""

from libs.common.http.app import make_app
from libs.common.http.door import Door, DoorDep, IfMatch, WorkDep
from libs.common.http.problems import problem
from libs.common.http.routes import Routes, needs, public
from libs.common.paging import CursorQuery, LimitQuery, Page

__all__ = ["CursorQuery", "Door", "DoorDep", "IfMatch", "LimitQuery", "Page", "Routes", "WorkDep", "make_app", "needs", "problem", "public"]
