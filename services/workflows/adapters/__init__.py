"""Whom workflows reaches out to."""
