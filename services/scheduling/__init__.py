"""Scheduling: appointments, whoever booked them; Cal.com's notices in, webhooks for integrators out."""
