"""Told by Temporal: one workflow per run that waits, and the activity that brings the run on with our own commands."""
