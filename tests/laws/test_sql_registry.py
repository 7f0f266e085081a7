"""The SQL back end keeps the laws of a registry."""

from __future__ import annotations

from pathlib import Path

from timewell.backends import sql
from timewell.stores.registry import RegistryBackend
from timewell.testing.registry_laws import RegistryLaws


class TestSqliteRegistry(RegistryLaws):
    def open_registry(self, place: Path) -> RegistryBackend:
        return sql.open(url=f"sqlite:///{place}/registry.db")

    def open_copy(self, copy: Path) -> RegistryBackend:
        return sql.open(url=f"sqlite:///{copy}")
