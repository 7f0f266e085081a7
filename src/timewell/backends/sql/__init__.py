"""The registry in a SQL database: SQLite in one file by default.

Files: ``schema`` (tables), ``database`` (transactions), ``sqlite`` (all that is SQLite's own), ``registry`` (the face)
over ``definitions``, ``epochs``, ``partitions``, ``leases``, ``manifests`` and ``audit``; ``state`` and ``migrations``
(formats).
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from timewell.backends.sql.database import WAIT_S, Database, Dialect
from timewell.backends.sql.registry import SqlRegistry
from timewell.backends.sql.sqlite import SqliteFile
from timewell.errors import ConfigError, Unsupported

__all__ = ["SqlRegistry", "open"]


def open(*, url: str, wait_s: float = WAIT_S) -> SqlRegistry:
    """Return the registry of a database; nothing is connected or made yet.

    Parameters
    ----------
    url
        ``sqlite:////absolute/path/registry.db``.
    wait_s
        How long a transaction waits for other processes before ``StateBusy``, in seconds.

    Raises
    ------
    ConfigError
        The URL cannot be read.
    Unsupported
        The database is none that this back end knows.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     registry = open(url=f"sqlite:///{place}/registry.db")
    ...     registry.state.create_or_check()
    ...     print(registry.definitions(), registry.check())
    ...     registry.close()
    [] []
    """
    return SqlRegistry(Database(_dialect(url), wait_s=wait_s))


def _dialect(url: str) -> Dialect:
    try:
        parsed = make_url(url)
    except ArgumentError:
        # the text is not shown: it may hold a password
        problem = "registry: this is no database URL; write sqlite:////absolute/path/registry.db"
        raise ConfigError(file="timewell.toml", problem=problem) from None
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        return SqliteFile(Path(parsed.database))
    what = f"a registry at {parsed.render_as_string(hide_password=True)}"
    raise Unsupported(what=what, backend="sql", hint="Write sqlite:////absolute/path/registry.db.")
