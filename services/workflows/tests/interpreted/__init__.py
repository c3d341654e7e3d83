"""Runs as they were once interpreted: definition, what happened, and what the interpreter said. Never changed, only added to."""
