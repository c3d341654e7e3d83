"""What every service's ``migrations/env.py`` runs: one transaction, lock and statement time-outs, its own version table."""

from __future__ import annotations

from alembic import context
from sqlalchemy import NullPool, create_engine, text


def run() -> None:
    attributes = context.config.attributes
    engine = create_engine(attributes["url"], poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SET lock_timeout = '10s'"))
        connection.execute(text("SET statement_timeout = '5min'"))
        connection.commit()
        context.configure(
            connection=connection,
            version_table="schema_version",
            version_table_schema=attributes["schema"],
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
