"""What is known after an event, in a simulation: the same as the projections would hold."""

from __future__ import annotations

from uuid import uuid4

from libs.contracts.patients import PatientDetails, PatientTagged, PatientUntagged, PatientUpdated
from services.workflows.rules.simulation.occurred import Known

PATIENT = uuid4()


def tagged(tag: str) -> PatientTagged:
    return PatientTagged(patient_id=PATIENT, tag_id=uuid4(), tag=tag)


def untagged(tag: str) -> PatientUntagged:
    return PatientUntagged(patient_id=PATIENT, tag_id=uuid4(), tag=tag)


def tags(known: Known) -> object:
    assert known.patient is not None
    return known.patient["tags"]


class TestTags:
    def test_are_given_once_and_taken(self) -> None:
        known = Known({"id": PATIENT, "email": None}).after(tagged("Recall")).after(tagged("Braces")).after(tagged("Recall"))
        assert tags(known) == ["Braces", "Recall"]
        assert tags(known.after(untagged("Recall")).after(untagged("Nothing"))) == ["Braces"]

    def test_outlast_a_change_of_the_details(self) -> None:
        details = PatientDetails(given_name="Kim", family_name="Lorenz")
        known = Known().after(tagged("Recall")).after(PatientUpdated(patient_id=PATIENT, version=2, changed=["phone"], details=details))
        assert tags(known) == ["Recall"]
        assert known.patient is not None
        assert known.patient["given_name"] == "Kim"
