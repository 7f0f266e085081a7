"""What every request passes before its path is looked at: the host it names, and the page it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from timewell.config import ServerConfig
from timewell.server.access import check_host, check_origin
from timewell.server.wire import Scope, header_values

_MOST_HOSTS: Final = 64


class Door:
    """Lets requests in, or refuses them.

    Parameters
    ----------
    settings
        ``[server]`` of ``timewell.toml``.
    """

    def __init__(self, settings: ServerConfig) -> None:
        self._allowed = frozenset(name.lower() for name in settings.allowed_hosts)
        self._hosts: dict[bytes, str] = {}

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Refuse another machine's host, and what a browser sends from a page that is not the server's own.

        Raises
        ------
        HostRefused, OriginRefused
        """
        if len(headers) == len(scope["headers"]):
            host = self._hosts.get(headers.get(b"host", b"")) or self._new_host(scope)
            if b"origin" not in headers:
                return
        else:  # some header came twice: these two must not, whatever the last one says
            host = self._new_host(scope)
        check_origin(scope["method"], header_values(scope, b"origin"), own=f"{scope['scheme']}://{host}")

    def _new_host(self, scope: Scope) -> str:
        host = check_host(header_values(scope, b"host"), self._allowed)
        if len(self._hosts) < _MOST_HOSTS:
            self._hosts[host.encode("latin-1")] = host
        return host
