"""How a webhook that proves nothing is answered: the same for a wrong signature and for a practice nobody knows."""

from __future__ import annotations

import secrets

from libs.common.errors import Unauthenticated

NOBODYS_SECRET = secrets.token_hex(32)
"""An unknown practice costs as much time as a wrong signature, and gets the same answer."""


class WebhookRefused(Unauthenticated):
    """The webhook's signature is not valid here."""
