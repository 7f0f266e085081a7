"""Run the application on uvicorn: one worker, this machine's own addresses, a graceful stop."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import uvicorn

from timewell.errors import BindRefused, CannotListen
from timewell.server.application import Application
from timewell.server.deadlines import with_head_deadline
from timewell.server.limits import LIMITS, Limits
from timewell.store import FeatureStore

log = logging.getLogger("timewell.server")
GRACE_S: Final = 10


def app(store: FeatureStore, *, limits: Limits = LIMITS) -> Application:
    """Return the ASGI application that serves a store.

    The application does not own the store: who opened it closes it, after the last request.

    Parameters
    ----------
    store
        The opened store.
    limits
        What one request may ask for.
    """
    return Application(store, limits)


def serve(
    store: FeatureStore,
    *,
    host: str | None = None,
    port: int | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve a store over HTTP until SIGINT or SIGTERM; requests that run then get ten seconds to end.

    Parameters
    ----------
    store
        The opened store; it stays open afterwards.
    host, port
        Where to listen; ``[server]`` of ``timewell.toml`` when omitted. Port 0 takes a free one.
    announce
        Called with the server's URL once connections are taken.

    Raises
    ------
    BindRefused
        The host is not one of this machine's own (loopback) addresses, and callers need no token.
    CannotListen
        The port is taken or not allowed.
    """
    settings = store.project.config.server
    wanted_host, wanted_port = settings.host if host is None else host, settings.port if port is None else port
    listener = listen(wanted_host, wanted_port, anywhere=settings.require_token)
    try:
        server = make_server(store)
        url = url_of(listener)
        log.info("listening on %s", url)
        if announce:
            announce(url)
        with _stop_signals_handled():
            server.run(sockets=[listener])
    finally:
        listener.close()


def make_server(store: FeatureStore, *, limits: Limits = LIMITS) -> uvicorn.Server:
    """Return the server, set up and not yet running."""
    config = uvicorn.Config(
        app(store, limits=limits),
        http=with_head_deadline(limits.head_s),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,  # the program's own logging
        server_header=False,
        proxy_headers=False,  # a header must not decide who the caller is
        timeout_graceful_shutdown=GRACE_S,
    )
    return uvicorn.Server(config)


def listen(host: str, port: int, *, anywhere: bool = False) -> socket.socket:
    """Return a socket that takes connections, from this machine alone unless ``anywhere``; raises as :func:`serve`."""
    if not anywhere:
        check_loopback(host)
    if not 0 <= port <= 65_535:  # the resolver would take it modulo 65,536
        raise CannotListen(host=host, port=port, problem="a port is between 0 and 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        if not anywhere:
            check_loopback(str(address[0]))  # what a name such as localhost really is
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as problem:
        text = getattr(problem, "strerror", None) or str(problem)
        raise CannotListen(host=host, port=port, problem=text) from None
    # asyncio does this only where the socket names its protocol, which create_server's do not; without it each answer
    # waits for the client's delayed acknowledgement: 44 ms in place of 0.6 ms were measured. Connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    return listener


def check_loopback(host: str) -> None:
    """Refuse any address but this machine's own."""
    if host == "localhost":
        return
    try:
        own = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        own = False
    if not own:
        raise BindRefused(host=host)


def url_of(listener: socket.socket) -> str:
    """Return the URL at which a socket answers."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _stop_signals_handled() -> Iterator[None]:
    """Let a graceful stop end as a success: uvicorn raises the signal again for whoever handled it before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = (signal.SIGINT, signal.SIGTERM)
    before = {name: signal.signal(name, _handled) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _handled(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the server has stopped already."""
