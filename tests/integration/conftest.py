"""The same running system, for what needs a look inside the backbone."""

from libs.testing.stack import stack

__all__ = ["stack"]
