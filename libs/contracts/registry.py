"""Imports every owner's module, so that ``MESSAGES`` is complete for whoever must know all types."""

from __future__ import annotations

from libs.contracts import access, notifications, patients, practices, scheduling, workflows
from libs.contracts.envelope import MESSAGES

OWNERS = (access, practices, patients, scheduling, workflows, notifications)

__all__ = ["MESSAGES", "OWNERS"]
