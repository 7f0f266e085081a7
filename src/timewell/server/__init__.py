"""The HTTP server: feature vectors and the catalog as JSON.

Rule: an answer is what the same call in process answers; this package adds the wire, limits and refusals, no meaning.
"""

from __future__ import annotations

from timewell.server.running import app, refreshing, serve, serve_as_worker

__all__ = ["app", "refreshing", "serve", "serve_as_worker"]
