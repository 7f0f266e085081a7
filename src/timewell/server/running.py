"""Run the application on uvicorn: where it listens, in how many processes, and how it stops."""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

import uvicorn

from timewell.clock import FrozenClock
from timewell.errors import BindRefused, CannotListen
from timewell.serve.latency import FOLDER, LatencyBook
from timewell.server.application import Application
from timewell.server.beside import Beside
from timewell.server.deadlines import Waiting, with_deadlines
from timewell.server.draining import DrainingServer
from timewell.server.lane import can_be_shortened, with_lane
from timewell.server.limits import LIMITS, Limits
from timewell.server.workers import READY, Workers
from timewell.store import FeatureStore
from timewell.types import SECOND_US, format_instant, parse_duration

log = logging.getLogger("timewell.server")
GRACE_S: Final = 10
_YOUNG_OBJECTS: Final = 50_000  # between two looks of the collector
_MOST_FILES: Final = 65_536


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
    workers: int = 1,
    worker_options: Sequence[str] = (),
) -> None:
    """Serve a store over HTTP until SIGINT or SIGTERM.

    After SIGTERM ``/ready`` answers 503 for a while (``drain`` in ``timewell.toml``), in which requests are still
    answered; those that run then get ten seconds to end.

    Parameters
    ----------
    store
        The opened store; it stays open afterwards.
    host, port
        Where to listen; ``[server]`` of ``timewell.toml`` when omitted. Port 0 takes a free one.
    announce
        Called with the server's URL once connections are taken.
    workers
        How many processes serve. More than one are new processes, each with its own look at the project; one that
        dies is started again.
    worker_options
        Options of the command line for them, such as ``["--log-format", "json"]``.

    Raises
    ------
    BindRefused
        The host is not one of this machine's own (loopback) addresses, and callers need no token.
    CannotListen
        The port is taken or not allowed.
    WorkerFailed
        A worker ended before it was ready.
    """
    settings = store.project.config.server
    wanted_host, wanted_port = settings.host if host is None else host, settings.port if port is None else port
    listener = listen(wanted_host, wanted_port, anywhere=settings.require_token)

    def announced() -> None:
        log.info("listening on %s", url_of(listener))
        if announce:
            announce(url_of(listener))

    try:
        if workers > 1:
            command = [*_command(store), *worker_options, "serve", "--worker"]
            grace_s = GRACE_S + 2 + parse_duration(settings.drain) / SECOND_US
            _watch(Workers(command=command, listener=listener, count=workers, grace_s=grace_s), announced)
        else:
            _run(make_server(store), listener, announced)
    finally:
        listener.close()


@contextmanager
def refreshing(store: FeatureStore, options: Sequence[str] = ()) -> Iterator[None]:
    """Keep a refresher of a store's project running, in a process of its own, while a block serves.

    Parameters
    ----------
    options
        Options of the command line for it.
    """
    with Beside([*_command(store), *options, "refresher", "--parent", str(os.getpid())]).running():
        yield


def serve_as_worker(store: FeatureStore, listener: socket.socket, link: socket.socket, restarts: int = 0) -> None:
    """Serve on the socket of the process that started this one, until it says so or is gone.

    Parameters
    ----------
    restarts
        Of workers, that nobody counted yet: the process that started this one opens nothing of the project.
    """
    if restarts:
        book = LatencyBook(store.project.state / FOLDER)
        book.follow("worker_restarts", lambda: restarts)
        book.close()
    server = make_server(store)
    link.setblocking(False)
    server.link = link
    with listener, link:
        _run(server, listener, lambda: link.send(READY))


def make_server(store: FeatureStore, *, limits: Limits = LIMITS) -> DrainingServer:
    """Return the server, set up and not yet running."""
    application = app(store, limits=limits)
    protocol = with_deadlines(limits.head_s, Waiting(limits.waiting))
    if can_be_shortened(protocol):
        protocol = with_lane(protocol, application.answer_now)
    config = uvicorn.Config(
        application,
        http=protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,  # the program's own logging
        server_header=False,
        proxy_headers=False,  # a header must not decide who the caller is
        timeout_graceful_shutdown=GRACE_S,
    )
    drain_s = parse_duration(store.project.config.server.drain) / SECOND_US
    return DrainingServer(config, application, drain_s)


def _run(server: DrainingServer, listener: socket.socket, on_started: Callable[[], object]) -> None:
    _allow_many_sockets()
    server.on_started = on_started
    with _stop_signals_handled(_handled), _settled():
        server.run(sockets=[listener])


def _watch(workers: Workers, on_ready: Callable[[], None]) -> None:
    with _stop_signals_handled(lambda *_: workers.stop()):
        workers.run(on_ready)


def _command(store: FeatureStore) -> list[str]:
    """Return how this store's project is opened by another process of the command line."""
    project = store.project
    command = [sys.executable, "-m", "timewell", "--project", str(project.root)]
    if project.profile is not None:
        command += ["--profile", project.profile]
    if isinstance(project.clock, FrozenClock):
        command += ["--now", format_instant(project.clock.now_us())]
    return command


@contextmanager
def _settled() -> Iterator[None]:
    """Spare the collector what is there for good, and let it look more seldom.

    Else each look at all objects, many a second, walks the libraries; and a request for a hundred entities makes
    several hundred lists, which are gone with it: by the usual threshold one look a request, to find nothing.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _allow_many_sockets() -> None:
    """Let this process have as many connections as it may: without one to spare, nobody at all is let in."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # a system that says no keeps what it has
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
def _stop_signals_handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let a graceful stop end as a success: uvicorn raises the signal again for whoever handled it before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = (signal.SIGINT, signal.SIGTERM)
    before = {name: signal.signal(name, handler) for name in names}
    try:
        yield
    finally:
        for name, earlier in before.items():
            signal.signal(name, earlier)


def _handled(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the server has stopped already."""
