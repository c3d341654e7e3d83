"""Reach out: SendGrid."""
