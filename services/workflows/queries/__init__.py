"""Answer: named selects over definitions, runs and projections."""
