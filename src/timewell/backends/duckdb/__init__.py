"""DuckDB as the offline engine: sources are read where they lie, groups are evaluated by SQL."""

from __future__ import annotations

import duckdb

from timewell.backends.duckdb.idle import Idle
from timewell.backends.duckdb.session import DuckSession
from timewell.stores.offline import EngineSession, EngineSettings
from timewell.stores.query import SourceCatalog


class DuckEngine:
    """Opens DuckDB sessions; each has a locked, in-memory database to itself."""

    name = "duckdb"
    version = duckdb.__version__

    def __init__(self) -> None:
        self._idle = Idle()

    def session(self, catalog: SourceCatalog, settings: EngineSettings | None = None) -> EngineSession:
        """Open a look at the registered sources."""
        return DuckSession(catalog, settings or EngineSettings(), self._idle)


def open() -> DuckEngine:
    """Return the engine."""
    return DuckEngine()
