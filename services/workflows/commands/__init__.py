"""Do: write definitions, start and advance runs, follow what expressions may name."""
