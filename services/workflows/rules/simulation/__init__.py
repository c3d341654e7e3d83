"""Runs under a virtual clock, with nothing performed: the interpreter as it is, driven by made-up answers or by events of the past."""
