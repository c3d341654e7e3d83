"""Conditions in the three forms people write them, each of them CEL in the end."""
