"""What notifications offers to workflows."""

from __future__ import annotations

from libs.common.actions import ActionPlugin
from services.notifications.commands.emails import EmailBooks, SendEmail, SendEmailResult, find_email, send_email

SEND_EMAIL = ActionPlugin(
    name="send_email",
    owner="notifications",
    title="Send an e-mail",
    help="Sends a text e-mail to the patient. Without an e-mail address the step fails with patient_has_no_email.",
    parameters=SendEmail,
    result=SendEmailResult,
    handler=send_email,
    lookup=find_email,
    books=EmailBooks(),
    personal_data=("name", "email"),
    timeout_seconds=20.0,
)
