"""Which URLs an outbound webhook may go to. Which addresses a name may lead to: ``libs.common.outbound``."""

from __future__ import annotations

from libs.common.errors import Refused
from libs.common.outbound.addresses import acceptable_url


class WebhookUrlRefused(Refused):
    """A webhook goes to a public https address with a host name, on port 443, without user name or fragment."""


def check_url(url: str, *, development: bool = False) -> None:
    """Raises ``WebhookUrlRefused``. ``development`` allows http, any port and addresses instead of names."""
    if not acceptable_url(url, development=development):
        raise WebhookUrlRefused(pointer="/url")
