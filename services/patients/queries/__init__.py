"""Answer: named selects over patients, their timeline, tags, notes and saved filters."""
