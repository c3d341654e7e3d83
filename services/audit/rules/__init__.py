"""Decide: what an entry holds, how the tree is hashed, what a checkpoint says, whether an export is genuine. Pure."""
