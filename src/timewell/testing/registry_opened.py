"""Handles on one registry for one test: what every suite of a registry's laws starts from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from timewell.stores.registry import RegistryBackend
from timewell.testing.registry_records import BY, group_record


class Opened(ABC):
    """Opens registries for one test and closes them after it."""

    @abstractmethod
    def open_registry(self, place: Path) -> RegistryBackend:
        """Return a handle on the registry of an existing, at first empty directory; twice is two handles on it."""

    @abstractmethod
    def open_copy(self, copy: Path) -> RegistryBackend:
        """Return the registry that ``state.backup(copy)`` wrote."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Iterator[Callable[[], RegistryBackend]]:
        """Open one more handle on this test's registry."""
        opened: list[RegistryBackend] = []

        def open_one() -> RegistryBackend:
            opened.append(self.open_registry(tmp_path))
            opened[-1].state.create_or_check()
            return opened[-1]

        yield open_one
        for registry in opened:
            registry.close()

    @pytest.fixture
    def registry(self, opener: Callable[[], RegistryBackend]) -> RegistryBackend:
        """Return a new registry."""
        return opener()

    @pytest.fixture
    def spend(self, registry: RegistryBackend) -> RegistryBackend:
        """Return a registry with ``spend@v1``."""
        registry.put([group_record()], **BY)
        return registry

    @pytest.fixture
    def other(self, registry: RegistryBackend, opener: Callable[[], RegistryBackend]) -> RegistryBackend:
        """Return a second handle on it."""
        assert registry is not None
        return opener()
