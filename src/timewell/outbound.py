"""The one module that calls addresses which somebody wrote into a setting: resolved once, checked, pinned, not redirected.

Rule: the address that was checked is the one that is connected to. A name is not resolved a second time, a redirect is not
followed, no proxy of the environment is used, and what comes back is not shown to anybody.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from timewell.errors import AddressRefused, DeliveryFailed, DeliveryRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A body to be posted.

    Attributes
    ----------
    timeout_s
        How long it may take from the first connection to the last byte of the answer's head.
    allow
        Networks that may be called although they are not public.
    """

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 10.0
    allow: Sequence[str] = ()

    @property
    def receiver(self) -> str:
        """Where it goes, without what may be secret in the address."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def post(order: Post) -> int:
    """Post a body; returns the status, which is one of success.

    Raises
    ------
    AddressRefused
        The name leads to an address that is neither public nor allowed.
    DeliveryRefused
        The receiver answered that it will not take this: another try would end alike.
    DeliveryFailed
        It could not be reached, was too slow, or could not take it now.
    """
    try:
        parts = urlsplit(order.url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise DeliveryRefused(receiver="a webhook", problem="its address cannot be read") from None
    if not port or parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        raise DeliveryRefused(receiver=order.receiver, problem="its address is none of a plain web server")
    addresses = _checked(order, parts.hostname, port)
    try:
        status = _exchange(order, parts.hostname, port, addresses)
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise DeliveryFailed(receiver=order.receiver, problem=_told(problem)) from None
    if 200 <= status < 300:
        return status
    if 300 <= status < 400:
        raise DeliveryRefused(receiver=order.receiver, problem=f"it answered {status}, and redirects are not followed")
    if status < 500 and status not in _TRY_AGAIN:
        raise DeliveryRefused(receiver=order.receiver, problem=f"it answered {status}")
    raise DeliveryFailed(receiver=order.receiver, problem=f"it answered {status}")


def _told(problem: Exception) -> str:
    if isinstance(problem, TimeoutError):
        return "it did not answer in time"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return type(problem).__name__


def _checked(order: Post, host: str, port: int) -> list[str]:
    """Resolve a name and return the addresses to connect to; one that must not be called refuses them all."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        raise DeliveryFailed(receiver=order.receiver, problem=f"its name was not found ({_told(problem)})") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    allowed = [ipaddress.ip_network(network) for network in order.allow]
    for text in addresses:
        if not may_call(text, allowed):
            raise AddressRefused(
                receiver=order.receiver, problem=f"it leads to {text}, which is not public", address=text
            )
    return addresses


def may_call(text: str, allowed: Sequence[Network] = ()) -> bool:
    """Whether an address is public, or allowed; what another address stands for in it counts.

    Examples
    --------
    >>> may_call("93.184.215.14"), may_call("169.254.169.254"), may_call("::ffff:127.0.0.1")
    (True, False, False)
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(_is_public(one) or any(one in network for network in allowed) for one in _meanings(address))


def _meanings(address: Address) -> list[Address]:
    """Return the addresses that packets to this one may end at."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    inside: list[Address] = [address]
    if address.sixtofour is not None:
        inside.append(address.sixtofour)
    if address.teredo is not None:
        inside += address.teredo
    if address in _NAT64:
        inside.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    if int(address) < 2**32 and int(address) > 1:  # ::a.b.c.d, long out of use
        inside.append(ipaddress.IPv4Address(int(address)))
    return inside


def _is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _exchange(order: Post, host: str, port: int, pinned: Sequence[str]) -> int:
    """Send a request to the first address that answers and return the status; who dribbles is cut off in time."""
    parts = urlsplit(order.url)
    connected = _connected(pinned, port, order.timeout_s)
    cut = threading.Timer(order.timeout_s, _cut, [held := [connected]])
    cut.daemon = True
    cut.start()
    try:
        if parts.scheme == "https":
            secured = ssl.create_default_context().wrap_socket(
                connected, server_hostname=host, do_handshake_on_connect=False
            )
            held[0] = connected = secured
            secured.do_handshake()
        connection = http.client.HTTPConnection(host, port, timeout=order.timeout_s)
        connection.sock, connection.default_port = connected, _PORTS[parts.scheme]
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body=order.body, headers=dict(order.headers))
        return connection.getresponse().status
    finally:
        cut.cancel()
        connected.close()


def _connected(pinned: Sequence[str], port: int, timeout_s: float) -> socket.socket:
    met: OSError = OSError("no address")
    for address in pinned:
        try:
            return socket.create_connection((address, port), timeout=timeout_s)
        except OSError as problem:
            met = problem
    raise met


def _cut(held: Sequence[socket.socket]) -> None:
    with suppress(OSError):
        socket.socket.shutdown(held[0], socket.SHUT_RDWR)  # not the TLS layer's: it would want to say good-bye
