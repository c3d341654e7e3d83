"""A request body for every operation that takes one: what the API reference shows, and what a test sends."""

from __future__ import annotations

from typing import Any

_DEFINITION = {
    "trigger": {"event": "vantage.scheduling.appointment-booked.v1"},
    "condition": "patient.email != null",
    "steps": [
        {
            "kind": "action",
            "id": "intake",
            "action": "send_email",
            "parameters": {"subject": "Before your visit", "text": "Dear {{patient.given_name}}, see you on {{appointment.starts_at}}."},
        },
        {"kind": "wait", "id": "two-hours", "duration": "PT2H"},
    ],
}
_FILE = """\
format: vantage.workflow/1
name: Two hours later
definition:
  trigger: {event: vantage.scheduling.appointment-booked.v1}
  steps:
    - {kind: wait, id: two-hours, duration: PT2H}
"""
_USER = {"name": "Jonas Falk", "email": "jonas.falk@lindenhof.example", "role": "regular_user"}

EXAMPLES: dict[str, dict[str, Any]] = {
    "POST /v1/practices": {
        "name": "Lindenhof",
        "time_zone": "Europe/Berlin",
        "users": [{"name": "Ada Lund", "email": "ada.lund@lindenhof.example", "role": "practice_admin"}],
    },
    "POST /v1/practices/{practice_id}/suspend": {"reason": "The contract has ended."},
    "POST /v1/practices/{practice_id}/invitations": {**_USER, "role": "practice_admin"},
    "PATCH /v1/practices/{practice_id}": {
        "name": "Lindenhof am See",
        "profile": {
            "address": {"street": "Am Lindenhof 3", "postal_code": "10969", "city": "Berlin", "country": "DE"},
            "opening_hours": [{"day": "monday", "opens": "08:00:00", "closes": "12:00:00"}],
        },
        "origins": ["https://www.lindenhof.example"],
    },
    "POST /v1/practices/{practice_id}/entries": {"reason": "The practice asked for help with its reminders.", "minutes": 60},
    "PATCH /v1/users/{user_id}": {"role": "practice_admin"},
    "PUT /v1/me/practice": {"practice_id": "0198a1b2-0000-7000-8000-000000000001"},
    "POST /v1/invitations": _USER,
    "POST /v1/api-keys": {"name": "Website", "scopes": ["appointments:read"], "addresses": ["192.0.2.0/28"]},
    "POST /v1/api-keys/{key_id}/rotate": {"overlap_hours": 24},
    "POST /v1/patients": {
        "given_name": "Mira",
        "family_name": "Holm",
        "email": "mira.holm@mail.example",
        "phone": "+49 170 1234567",
        "birth_date": "1987-04-12",
    },
    "PATCH /v1/patients/{patient_id}": {"phone": "+49 170 7654321"},
    "POST /v1/patients/{patient_id}/tags": {"tag": "Recall"},
    "POST /v1/patients/{patient_id}/notes": {"text": "Prefers to be called in the morning."},
    "POST /v1/patient-filters": {
        "name": "Recall by e-mail",
        "visibility": "shared",
        "condition": {
            "blocks": {
                "all": [
                    {"field": "patient.tags", "operator": "contains", "value": "Recall"},
                    {"field": "patient.email", "operator": "is_not_empty"},
                ]
            }
        },
    },
    "PATCH /v1/patient-filters/{filter_id}": {"name": "Recall, autumn"},
    "POST /v1/appointments": {
        "starts_at": "2030-01-07T09:00:00Z",
        "ends_at": "2030-01-07T09:30:00Z",
        "resource": "Dr Lund",
        "title": "First visit",
        "time_zone": "Europe/Berlin",
        "attendee": {"name": "Mira Holm", "email": "mira.holm@mail.example"},
    },
    "POST /v1/appointments/{appointment_id}/reschedule": {"starts_at": "2030-01-08T09:00:00Z", "ends_at": "2030-01-08T09:30:00Z"},
    "POST /v1/appointments/{appointment_id}/cancel": {"reason": "The patient is ill."},
    "PUT /v1/calcom-settings": {
        "webhook_secret": "at least sixteen characters of your own",
        "api_key": "cal_live_of_at_least_sixteen_characters",
        "event_type_id": 7,
    },
    "PUT /v1/retell-settings": {
        "api_key": "key_of_at_least_sixteen_characters",
        "from_number": "+12025550123",
        "agent_id": "agent_reception",
    },
    "PUT /v1/webhook-endpoint": {
        "url": "https://hooks.integrator.example/vantage",
        "event_types": ["appointment.booked"],
    },
    "POST /v1/workflows": {"name": "Intake and reminder", "definition": _DEFINITION},
    "PUT /v1/workflows/{workflow_id}": {"name": "Intake", "definition": _DEFINITION},
    "POST /v1/gallery/{gallery_id}/use": {"name": "Welcome", "values": {"subject": "Welcome to our practice"}},
    "POST /v1/workflows/import": {"yaml": _FILE},
    "POST /v1/workflows/{workflow_id}/runs": {"filter": "patient.email != null", "values": {"reason": "flu season"}},
    "POST /v1/workflows/{workflow_id}/runs/preview": {
        "filter": {
            "blocks": {
                "all": [
                    {"field": "patient.email", "operator": "is_not_empty"},
                    {"field": "patient.family_name", "operator": "starts_with", "value": "H"},
                ]
            }
        }
    },
    "POST /v1/workflows/{workflow_id}/webhook-secret": {"overlap_hours": 24},
    "PUT /v1/workflows/suppressions/{patient_id}": {"reason": "Wishes to be called by a person only."},
    "POST /v1/runs/{run_id}/rerun": {},
    "POST /v1/runs/{run_id}/steps/{step_id}/resolve": {"outcome": "failed", "note": "Their operator finds no request with this key."},
    "POST /v1/runs/bulk/preview": {"verb": "cancel", "filter": {"status": "running", "started_before": "2030-01-01T00:00:00Z"}},
    "POST /v1/runs/bulk": {
        "verb": "retry",
        "fingerprint": {
            "workflow_id": "0198a1b2-0041-7000-8000-000000000041",
            "failed_step": "intake",
            "error_code": "patient_has_no_email",
        },
    },
    "POST /v1/workflows/{workflow_id}/backtests": {"days": 14, "compare_with": "published"},
    "POST /v1/workflows/{workflow_id}/publish": {"note": "A friendlier text.", "include_existing": None},
    "POST /v1/workflows/{workflow_id}/duplicate": {"name": "Intake for children"},
    "POST /v1/workflows/{workflow_id}/revert": {"version": 1},
    "POST /v1/workflows/{workflow_id}/dry-run": {
        "now": "2030-01-07T08:00:00Z",
        "patient": {"given_name": "Mira", "email": "mira.holm@mail.example"},
        "answers": {"intake": [{"outcome": "failed", "error_code": "provider_down", "retryable": True}, {"outcome": "succeeded"}]},
    },
    "POST /v1/tasks": {"title": "Call back", "text": "Asked for the findings.", "due_in_hours": 24, "role": "regular_user"},
    "PATCH /v1/tasks/{task_id}": {"title": "Call back today", "due_at": "2030-01-07T16:00:00Z"},
    "PUT /v1/email-settings": {
        "api_key": "SG.your-key",
        "sender_email": "desk@lindenhof.example",
        "sender_name": "Lindenhof",
        "webhook_key": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==",
    },
}
