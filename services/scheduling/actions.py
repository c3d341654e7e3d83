"""What scheduling offers to workflows."""

from __future__ import annotations

from libs.common.actions import ActionPlugin
from libs.contracts.scheduling import AppointmentBooked, AppointmentCancelled, CallAnalyzed, CallEnded, CallStarted
from services.scheduling.commands.appointment_actions import (
    BookForPatient,
    BookForPatientResult,
    CancelForRun,
    CancelForRunResult,
    book_for_patient,
    cancel_for_run,
)
from services.scheduling.commands.call_actions import CallBooks, StartCall, StartCallResult, find_call, start_call

BOOK_APPOINTMENT = ActionPlugin(
    name="book_appointment",
    owner="scheduling",
    title="Book an appointment",
    help="Books an appointment for the patient. When somebody else has the time the step fails with slot_taken.",
    parameters=BookForPatient,
    result=BookForPatientResult,
    handler=book_for_patient,
    causes=(AppointmentBooked.type,),
)
CANCEL_APPOINTMENT = ActionPlugin(
    name="cancel_appointment",
    owner="scheduling",
    title="Cancel an appointment",
    help="Cancels an appointment of the patient. One that Cal.com keeps is cancelled there: the step fails with kept_by_calcom.",
    parameters=CancelForRun,
    result=CancelForRunResult,
    handler=cancel_for_run,
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
)
