"""Which addresses people may make this house call. Pure: names are resolved elsewhere, the answers are judged here.

Refused is everything that is not plainly public: IANA's special registries for IPv4, everything but assigned global
unicast for IPv6, and IPv4 addresses hidden inside IPv6 ones. ``ipaddress.is_global`` alone lets several of them pass.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

LONGEST_URL = 2000
PORTS = frozenset({443})

_V4_REFUSED = tuple(
    ipaddress.IPv4Network(net)
    for net in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
        "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
_V6_GLOBAL = ipaddress.IPv6Network("2000::/3")
_V6_REFUSED = tuple(ipaddress.IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))
_HOST = re.compile(r"(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")


def acceptable_url(url: str, *, development: bool = False) -> bool:
    """https with a host name, on port 443, without user name or fragment. ``development``: http, any port, addresses too."""
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if parts.username is not None or parts.password is not None or parts.fragment or not parts.hostname:
        return False
    if development:
        return parts.scheme in {"http", "https"}
    return parts.scheme == "https" and (port or 443) in PORTS and _HOST.fullmatch(parts.hostname) is not None


def allowed_address(text: str, *, development: bool = False) -> bool:
    """Whether we may connect to this IP address. ``development`` additionally allows loopback, and nothing else."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return allowed_address(str(address.ipv4_mapped), development=development)
        if development and address.is_loopback:
            return True
        return address in _V6_GLOBAL and not any(address in net for net in _V6_REFUSED)
    if development and address.is_loopback:
        return True
    return not any(address in net for net in _V4_REFUSED)
