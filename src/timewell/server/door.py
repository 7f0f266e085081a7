"""What every request passes before its path is looked at: the host it names, the page it comes from, the token it shows.

Rule: who may not come in is told nothing about what is inside, not even whether a path exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from timewell.run.tokens import TokenBook, TokenRecord
from timewell.server.access import ANYONE, HEALTH, Granted, check_host, check_origin
from timewell.server.problems import NotAuthenticated
from timewell.server.wire import Scope, header_values
from timewell.stores.project import Project

_MOST_HOSTS: Final = 64
_OUTSIDE: Final = Granted(permissions=frozenset())


class Door:
    """Lets requests in, or refuses them.

    Parameters
    ----------
    project
        The project that is served; its settings say which hosts it answers for and whether it requires tokens.
    """

    def __init__(self, project: Project) -> None:
        settings = project.config.server
        self._allowed = frozenset(name.lower() for name in settings.allowed_hosts)
        self._hosts: dict[bytes, str] = {}
        self._require = settings.require_token
        self._tokens = TokenBook(project)
        self._granted: dict[TokenRecord, Granted] = {}

    def admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Granted:
        """Return what the caller of a request may do.

        Raises
        ------
        HostRefused, OriginRefused, NotAuthenticated
        """
        once = len(headers) == len(scope["headers"])  # of two hosts, none is the right one
        host = self._hosts.get(headers.get(b"host", b"")) if once else None
        if host is None:
            host = self._new_host(scope)
        if b"origin" in headers:
            check_origin(scope["method"], header_values(scope, b"origin"), own=f"{scope['scheme']}://{host}")
        if b"authorization" in headers:
            return self._granted_to(header_values(scope, b"authorization"))
        if not self._require:
            return ANYONE
        if scope["path"] == HEALTH:
            return _OUTSIDE
        raise NotAuthenticated(problem="carries no token")

    def _new_host(self, scope: Scope) -> str:
        host = check_host(header_values(scope, b"host"), self._allowed)
        if len(self._hosts) < _MOST_HOSTS:
            self._hosts[host.encode("latin-1")] = host
        return host

    def _granted_to(self, shown: list[str]) -> Granted:
        """Return what a token permits. One that was shown counts, required or not: a wrong one is never passed over."""
        scheme, _, text = shown[0].partition(" ")
        record = self._tokens.find(text.strip()) if len(shown) == 1 and scheme.lower() == "bearer" else None
        if record is None:
            raise NotAuthenticated(problem="carries no token that is valid")
        granted = self._granted.get(record)
        if granted is None:
            groups = None if record.groups is None else frozenset(record.groups)
            granted = Granted(permissions=frozenset(record.scopes), groups=groups)
            if len(self._granted) >= _MOST_HOSTS:
                self._granted.clear()
            self._granted[record] = granted
        return granted
