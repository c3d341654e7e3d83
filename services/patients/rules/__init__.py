"""Decide: how contact details and tags are written, what a saved filter may say. Pure."""
