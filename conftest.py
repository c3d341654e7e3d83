"""Fixtures every test may use; they live in libs/testing. What holds for every property test."""

import os

from hypothesis import settings

pytest_plugins = ["libs.testing.postgres", "libs.testing.fixtures", "libs.testing.broker", "libs.testing.stack"]

# A busy machine is no failure. Where CI is set, Hypothesis takes its own profile: the same cases for the same code.
settings.register_profile("house", deadline=None)
if "CI" not in os.environ:
    settings.load_profile("house")
