"""Reach out: Cal.com's words and integrators' addresses stop here."""
