"""Decide: what a provider's and a receiver's answers mean, and what may be sent. Pure."""
