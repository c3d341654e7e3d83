"""Fixtures every test may use; they live in libs/testing. What holds for every property test."""

import gc
import os

from hypothesis import settings

pytest_plugins = ["libs.testing.postgres", "libs.testing.fixtures", "libs.testing.broker", "libs.testing.stack"]

# A busy machine is no failure. Where CI is set, Hypothesis takes its own profile: the same cases for the same code.
settings.register_profile("house", deadline=None)
if "CI" not in os.environ:
    settings.load_profile("house")


def pytest_collection_finish() -> None:
    """All that was imported and collected stays to the end: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
