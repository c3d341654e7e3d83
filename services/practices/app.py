"""Who is here: the practices service put together."""

from __future__ import annotations

from functools import partial

from libs.common.service import Service
from services.practices import api, timers
from services.practices.adapters.supabase import Supabase
from services.practices.commands.authorize import KeyChecker
from services.practices.rules.signatures import read_secrets
from services.practices.settings import Settings


def build(settings: Settings) -> Service:
    service = Service("practices", settings)
    service.api(api.practice_routes())
    service.api(api.user_routes())
    service.api(api.key_routes())
    service.api(api.gateway_routes(KeyChecker(service.work, bytes.fromhex(settings.gateway_key.get_secret_value()))))
    service.api(api.hook_routes(read_secrets(settings.hook_secrets.get_secret_value())))
    service.every(seconds=1.0, run=partial(timers.send_invitations, service.work, provider(settings)), name="invitations")
    service.every(
        seconds=timers.RECONCILE_SECONDS, run=partial(timers.reconcile_people, service.work, provider(settings)), name="reconcile"
    )
    return service


def provider(settings: Settings) -> Supabase:
    """The identity provider's admin side."""
    return Supabase(settings.auth_url, settings.auth_service_key.get_secret_value(), settings.site_url)
