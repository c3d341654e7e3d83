"""Calls to addresses that people of a practice chose, and that must not reach anything inside the house."""
