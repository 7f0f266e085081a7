"""What alembic runs to migrate: the transaction was opened by ``migrate.py``, which hands its connection over."""

from __future__ import annotations

from alembic import context

from timewell.backends.sql import schema


def run() -> None:
    """Run the wanted steps in the caller's transaction."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=schema.METADATA,
        render_as_batch=True,  # SQLite changes a table by making it anew
        transactional_ddl=True,  # true of SQLite as well when BEGIN is our own
    )
    with context.begin_transaction():
        context.run_migrations()


if __name__ == "env_py":  # the name alembic loads it by; importing it elsewhere (a test collector) does nothing
    run()
