"""Measurements, never assertions on time. ``make bench`` prints a table; figures live in docs/benchmarks.md."""
