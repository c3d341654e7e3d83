"""Notifications: messages to people, once each, and what became of them."""
