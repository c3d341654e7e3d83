"""Decide: values in, values out. Nothing here reads a clock, a database or the network."""
