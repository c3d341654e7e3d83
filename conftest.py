"""Fixtures every test may use; they live in libs/testing."""

pytest_plugins = ["libs.testing.postgres", "libs.testing.fixtures", "libs.testing.broker", "libs.testing.stack"]
