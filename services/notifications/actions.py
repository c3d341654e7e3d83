"""What notifications offers to workflows."""

from __future__ import annotations

from libs.common.actions import ActionPlugin
from services.notifications.commands.plan import SendEmail, SendEmailResult

SEND_EMAIL = ActionPlugin(
    name="send_email",
    owner="notifications",
    title="Send an e-mail",
    help="Sends a text e-mail to the patient. Without an e-mail address the step fails with patient_has_no_email.",
    parameters=SendEmail,
    result=SendEmailResult,
    idempotent=False,
    lookup=True,
    personal_data=("name", "email"),
)
