"""Workflows: what a practice wants to happen by itself, and the runs that make it happen."""
