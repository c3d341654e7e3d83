"""The house is built as drawn: walls, rooms, tenancy, lints."""
