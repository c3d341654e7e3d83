"""Who is here: the audit service put together."""

from __future__ import annotations

from functools import partial

from libs.common.service import Service
from services.audit import api, consumers, timers
from services.audit.commands.checkpoints import Signer
from services.audit.settings import Settings


def build(settings: Settings) -> Service:
    service = Service("audit", settings)
    signer = Signer.of(settings.ledger_origin, settings.ledger_signing_key.get_secret_value())
    service.api(api.entry_routes())
    service.api(api.proof_routes(signer.verifier.vkey))
    service.consumes(partial(consumers.subscribe, origin=settings.ledger_origin))
    service.every(seconds=1.0, run=partial(timers.sign_checkpoints, service.work, signer), name="checkpoints")
    return service
