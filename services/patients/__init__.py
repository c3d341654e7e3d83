"""Patients: the people of a practice, and the timeline of what happened to them."""
