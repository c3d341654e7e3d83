"""Decide: what a definition may say, what its expressions mean, what a run does next. Pure."""
