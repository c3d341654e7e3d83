"""Decide: what people and practices may be called, what a key looks like, whether a hook's signature is genuine. Pure."""
