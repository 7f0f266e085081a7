"""The store's verbs as functions on the project found from the current directory.

``from timewell.active import materialize_online`` acts as ``FeatureStore().materialize_online`` would.
"""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timewell.store import FeatureStore

if TYPE_CHECKING:
    from collections.abc import Callable

_stores: dict[Path, FeatureStore] = {}


def store() -> FeatureStore:
    """Return the store of the project at or above the current directory; one per project and process."""
    found = FeatureStore()
    return _stores.setdefault(found.project.root, found)


def _verb(name: str) -> Callable[..., Any]:
    method = getattr(FeatureStore, name)

    @wraps(method)
    def act(*args: Any, **named: Any) -> Any:  # noqa: ANN401  # the method's own signature, via wraps
        return getattr(store(), name)(*args, **named)

    return act


_VERBS = [name for name, value in vars(FeatureStore).items() if callable(value) and not name.startswith("_")]
__all__ = ["store", *_VERBS]  # noqa: PLE0604  # names made below, one per public method
globals().update({name: _verb(name) for name in _VERBS if name != "init"})
