"""Runs: the interpreter, and the words it takes and gives."""
