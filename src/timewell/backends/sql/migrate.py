"""Runs the alembic migrations that are shipped beside this module, on a connection whose transaction is open.

Rule: imported only to migrate; nothing else in this package loads alembic.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

FOLDER = Path(__file__).with_name("migrations")


def migrate(connection: Connection, *, to: str = "head") -> None:
    """Bring a database to a format, step by step."""
    config = Config()
    # Config reads % as the start of a reference
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
