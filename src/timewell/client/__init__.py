"""Clients of the HTTP server, for services that only read features: no engine, no store, few modules.

Rule: an answer is what ``FeatureStore.get_online_features`` gives in process, and so are the errors.
"""

from __future__ import annotations

try:
    from timewell.client.blocking import Client
    from timewell.client.concurrent import AsyncClient
except ModuleNotFoundError as missing:
    if missing.name != "httpx2":
        raise
    from timewell.errors import MissingExtra

    raise MissingExtra(what="timewell.client", package="httpx2", extra="client") from None

__all__ = ["AsyncClient", "Client"]
