"""Who is here: the practices service put together."""

from __future__ import annotations

from libs.common.service import Service
from services.practices import api
from services.practices.settings import Settings


def build(settings: Settings) -> Service:
    service = Service("practices", settings)
    service.api(api.practice_routes())
    service.api(api.user_routes())
    return service
