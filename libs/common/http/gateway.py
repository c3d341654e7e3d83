"""What came through the gateway, and from whom. Only the gateway knows the proof it sends along with every request.

Identity never comes in a header: tokens are verified here whatever the gateway says. The proof matters where the network
does: for the caller's address, and for operations only the gateway may call.
"""

from __future__ import annotations

import hmac
from ipaddress import ip_address

from starlette.types import Scope

PROOF_HEADER = "x-vantage-gateway"
CLIENT_HEADER = "x-vantage-client"


def came_through(headers: dict[str, str], proof: str) -> bool:
    return hmac.compare_digest(headers.get(PROOF_HEADER, "").encode("latin-1"), proof.encode())


def client_address(scope: Scope, headers: dict[str, str], *, through_gateway: bool) -> str:
    """The caller's address: what the gateway saw, else the peer's."""
    peer = scope.get("client")
    address = headers.get(CLIENT_HEADER, "") if through_gateway else (peer[0] if peer else "")
    try:
        return str(ip_address(address))
    except ValueError:
        return ""
