"""Who may do what: the permission of every route, in one table, and the checks that come before any route.

Rule: deny by default. A route that is not in :data:`PERMISSIONS` stops the server from starting.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from timewell.run.tokens import Scope
from timewell.server.problems import GroupNotPermitted, HostRefused, NotPermitted, OriginRefused

Permission = Literal["open"] | Scope

FEATURES_GET: Final = "/v1/features/get"

PERMISSIONS: Final[Mapping[tuple[str, str], Permission]] = {
    ("POST", FEATURES_GET): "features.read",
    ("GET", "/v1/features"): "catalog.read",
    ("GET", "/health"): "open",
    ("GET", "/ready"): "open",
    ("GET", "/openapi.json"): "open",
    ("GET", "/metrics"): "metrics.read",
}

# The one path that asks for no token where tokens are required: it tells nothing but that the process answers.
HEALTH: Final = "/health"

# What a caller without a token may do. Sound only as long as the server listens on this machine's own addresses.
LOCAL: Final[frozenset[Permission]] = frozenset({"features.read", "catalog.read", "metrics.read"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What a caller may do: its permissions, and the only feature groups that they hold for (``None``: all)."""

    permissions: frozenset[Permission]
    groups: frozenset[str] | None = None

    def check_groups(self, groups: Iterable[str | None]) -> None:
        """Refuse what touches any other group."""
        if self.groups is not None and not self.groups.issuperset(groups):
            raise GroupNotPermitted(groups=sorted(self.groups))


ANYONE: Final = Granted(permissions=LOCAL)


def permission_of(method: str, path: str) -> Permission:
    """Return the declared permission of a route.

    Raises
    ------
    LookupError
        None is declared: a fault of the program, found when the server starts.
    """
    try:
        return PERMISSIONS[method, path]
    except KeyError:
        raise LookupError(f"the route {method} {path} declares no permission in timewell.server.access") from None


def check_permission(method: str, path: str, granted: Collection[Permission]) -> None:
    """Refuse a caller that lacks the route's permission."""
    needed = permission_of(method, path)
    if needed != "open" and needed not in granted:
        raise NotPermitted(method=method, path=path, permission=needed)


def check_host(hosts: Iterable[str], allowed: Collection[str]) -> str:
    """Return the one Host header of a request, if the server answers for it; the port does not matter.

    Examples
    --------
    >>> check_host(["LocalHost:6570"], {"localhost"})
    'LocalHost:6570'
    """
    given = list(hosts)
    if len(given) != 1 or without_port(given[0]) not in allowed:
        raise HostRefused(host=", ".join(given))
    return given[0]


def without_port(host: str) -> str:
    """Return a Host header's name in small letters; an IPv6 address keeps its brackets."""
    name, colon, port = host.lower().rpartition(":")
    return name.removesuffix(".") if colon and (port.isdigit() or not port) else host.lower().removesuffix(".")


def check_origin(method: str, origins: Iterable[str], *, own: str) -> None:
    """Refuse what a browser sends from a page that is not the server's own.

    Programs send no Origin; a page without one of its own sends ``null``, which is refused as well.
    """
    if method == "GET":
        return
    for origin in origins:
        if origin.lower() != own.lower():
            raise OriginRefused(method=method, origin=origin)
