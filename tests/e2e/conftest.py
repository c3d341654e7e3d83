"""One running system for all journeys. These tests knock on doors; they import no service."""

from libs.testing.stack import stack

__all__ = ["stack"]
