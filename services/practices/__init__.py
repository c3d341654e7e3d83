"""Practices: the tenants and the people who work in them."""
