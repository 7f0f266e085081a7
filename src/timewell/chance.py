"""The one module that draws by chance, so that a test can fix what it draws."""

from __future__ import annotations

import secrets


def new_secret() -> bytes:
    """Return 32 random bytes."""
    return secrets.token_bytes(32)


def new_id() -> str:
    """Return 16 hex digits that no one drew before."""
    return secrets.token_hex(8)


def share() -> float:
    """Return a number from 0 up to 1."""
    return secrets.randbelow(1 << 53) / (1 << 53)
