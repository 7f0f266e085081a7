"""How much one request may ask for: every limit of the server in one place, checked before any work is done."""

from __future__ import annotations

import re
from collections.abc import Sized
from dataclasses import dataclass
from typing import Final

from timewell.errors import InvalidRequest, LimitExceeded

_LOOKED_AT_BYTES: Final = 1 << 16
_NESTING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|([\[{])|[\]}]', re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that one request may bring or ask for.

    Attributes
    ----------
    body_bytes
        Size of the body, announced or sent in chunks.
    entities, features
        Length of the lists of the same names.
    json_depth
        How deep brackets may be nested.
    name_chars
        Length of one reference to a feature or service: three names of 63 and two separators are 191.
    waiting
        How many connections of one address may owe a head or a body at once.
    head_s, body_s
        How long a caller may take to send the request's head, and then its body.
    """

    body_bytes: int = 1 << 20
    entities: int = 1_000
    features: int = 200
    json_depth: int = 32
    name_chars: int = 200
    waiting: int = 128
    head_s: float = 10.0
    body_s: float = 10.0


LIMITS: Final = Limits()


def check_length(what: str, listed: Sized, limit: int) -> None:
    """Refuse a list that is longer than its limit."""
    if len(listed) > limit:
        raise LimitExceeded(what=what, found=len(listed), limit=limit)


def check_depth(body: bytes, limit: int) -> None:
    """Refuse a body whose brackets are nested too deep.

    Only called for a body that was refused already: the typed decoder stops at the first bracket it does not expect,
    so depth costs nothing there, and this tells a caller the better reason. It looks at the first 64 KiB.

    Examples
    --------
    >>> check_depth(b'{"a": "[[["}', limit=1)
    >>> check_depth(b"[[]]", limit=1)  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    timewell.errors.LimitExceeded: JSON depth: 2 is over the limit of 1.
    """
    depth = 0
    for found in _NESTING.finditer(body, 0, _LOOKED_AT_BYTES):
        if found[1]:
            depth += 1
            if depth > limit:
                raise LimitExceeded(what="JSON depth", found=depth, limit=limit, hint=InvalidRequest.fix)
        elif found[0] in {b"]", b"}"}:
            depth -= 1
