"""Generators and lints of this house, each with a test. Run by make; imported by nobody but tests."""
