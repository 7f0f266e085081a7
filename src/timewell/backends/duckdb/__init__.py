"""DuckDB as the offline engine: sources are read where they lie, groups are evaluated by SQL."""

from __future__ import annotations

import duckdb

from timewell.backends.duckdb.session import DuckSession
from timewell.stores.offline import EngineSession, EngineSettings
from timewell.stores.query import SourceCatalog


class DuckEngine:
    """Opens DuckDB sessions; each is its own locked, in-memory database."""

    name = "duckdb"
    version = duckdb.__version__

    def session(self, catalog: SourceCatalog, settings: EngineSettings | None = None) -> EngineSession:
        """Open a look at the registered sources."""
        return DuckSession(catalog, settings or EngineSettings())


def open() -> DuckEngine:
    """Return the engine."""
    return DuckEngine()
