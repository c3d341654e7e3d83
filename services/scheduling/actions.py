"""What scheduling offers to workflows."""

from __future__ import annotations

from libs.common.actions import ActionPlugin
from libs.contracts.scheduling import AppointmentBooked, AppointmentCancelled, AppointmentMatched, CallAnalyzed, CallEnded, CallStarted
from services.scheduling.commands.appointment_actions import (
    BookForPatient,
    BookForPatientResult,
    CancelForRun,
    CancelForRunResult,
    book_for_patient,
    cancel_for_run,
)
from services.scheduling.commands.booking_actions import book_at_calcom, find_booking
from services.scheduling.commands.call_actions import CallBooks, StartCall, StartCallResult, find_call, start_call
from services.scheduling.commands.cancellation_actions import cancel_at_calcom, find_cancellation

BOOK_APPOINTMENT = ActionPlugin(
    name="book_appointment",
    owner="scheduling",
    title="Book an appointment",
    help=(
        "Books an appointment for the patient: here when a resource is named, else at Cal.com. When somebody else has the time the "
        "step fails with slot_taken, for Cal.com without an e-mail address with patient_has_no_email. A booking that waits for its "
        "host is unknown until they decide."
    ),
    parameters=BookForPatient,
    result=BookForPatientResult,
    handler=book_at_calcom,
    lookup=find_booking,
    inside=book_for_patient,
    personal_data=("name", "email"),
    timeout_seconds=25.0,
    causes=(AppointmentBooked.type, AppointmentMatched.type),
    needs_person=True,
)
CANCEL_APPOINTMENT = ActionPlugin(
    name="cancel_appointment",
    owner="scheduling",
    title="Cancel an appointment",
    help=(
        "Cancels an appointment of the patient; one that Cal.com keeps is cancelled there. Without Cal.com's API key the step then "
        "fails with calcom_not_configured, for a seat of a group booking with seat_kept_by_calcom. For one that is completed or "
        "marked as no-show it fails with appointment_is_over."
    ),
    parameters=CancelForRun,
    result=CancelForRunResult,
    handler=cancel_at_calcom,
    lookup=find_cancellation,
    inside=cancel_for_run,
    timeout_seconds=25.0,
    causes=(AppointmentCancelled.type,),
)
START_CALL = ActionPlugin(
    name="start_call",
    owner="scheduling",
    title="Call the patient",
    help="Has Retell's voice agent call the patient. Without a phone number the step fails with patient_has_no_phone.",
    parameters=StartCall,
    result=StartCallResult,
    handler=start_call,
    lookup=find_call,
    books=CallBooks(),
    personal_data=("phone",),
    timeout_seconds=20.0,
    causes=(
        CallStarted.type,
        CallEnded.type,
        CallAnalyzed.type,
    ),
    needs_person=True,
)
