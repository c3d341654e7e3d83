"""Alembic's entry point; what it does is the same for every service."""

from libs.common.alembic_env import run

run()
