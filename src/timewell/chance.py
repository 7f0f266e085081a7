"""The one module that draws random names, so that a test can fix them."""

from __future__ import annotations

import secrets


def new_secret() -> bytes:
    """Return 32 random bytes."""
    return secrets.token_bytes(32)


def new_id() -> str:
    """Return 16 hex digits that no one drew before."""
    return secrets.token_hex(8)
