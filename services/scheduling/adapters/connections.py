"""What an error of a provider's client says about whether it was reached."""

from __future__ import annotations

import aiohttp
import httpx


def never_connected(error: httpx.HTTPError) -> bool:
    """Whether there was no connection to write to.

    The transport's own exceptions cannot tell: it calls a connection cut after the request ``ConnectTimeout`` too.
    """
    return isinstance(error.__cause__, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))
