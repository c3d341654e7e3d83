"""Definitions: what may be written down, what is wrong with it, and the program a run follows."""
