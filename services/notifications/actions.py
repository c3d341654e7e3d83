"""What notifications offers to workflows."""

from __future__ import annotations

from libs.common.actions import ActionPlugin
from libs.contracts.notifications import EmailAccepted, EmailStatusChanged, TaskCreated
from services.notifications.commands.emails import EmailBooks, SendEmail, SendEmailResult, find_email, send_email
from services.notifications.commands.requests import HttpRequest, HttpRequestResult, http_request, may_be_repeated
from services.notifications.commands.tasks import CreateTask, CreateTaskResult, create_task

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
    causes=(
        EmailAccepted.type,
        EmailStatusChanged.type,
    ),
    needs_person=True,
)
CREATE_TASK = ActionPlugin(
    name="create_task",
    owner="notifications",
    title="Create a task",
    help="Puts something to do on the staff's list: for a user, for a role, or for everybody.",
    parameters=CreateTask,
    result=CreateTaskResult,
    handler=create_task,
    causes=(TaskCreated.type,),
    personal_data=("task",),
)
HTTP_REQUEST = ActionPlugin(
    name="http_request",
    owner="notifications",
    title="Call an outside system",
    help="Sends one HTTPS request. When the answer is lost, the outcome is unknown, unless the receiver is said to tell repeats.",
    parameters=HttpRequest,
    result=HttpRequestResult,
    handler=http_request,
    idempotent=may_be_repeated,
    personal_data=("parameters",),
    timeout_seconds=25.0,
)
