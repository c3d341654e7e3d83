"""Our own lints: what ruff and mypy cannot know about this house. Each rule says which incident it prevents."""
