"""Amounts of memory as people write them."""

from __future__ import annotations

import re

from timewell.errors import ConfigError

_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_bytes(text: str) -> int:
    """Return an amount such as ``2GB``, ``512 MiB`` or ``1.5g`` in bytes.

    Examples
    --------
    >>> parse_bytes("2GB"), parse_bytes("512 MiB")
    (2000000000, 536870912)
    """
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise ConfigError(file="timewell.toml", problem=f"{text!r} is no amount of memory; write it as 2GB or 512MiB")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** _POWERS[found[2].lower()])
