"""What ``snorky serve`` runs: the ports, what answers on them, and how they end."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path
from time import monotonic
from typing import Any

import click
from tornado.web import Application

from snorky import ServiceRegistry, close_codes, version
from snorky.backend.outbox.hosted import HostedRelay
from snorky.cli.access_log import log_handled, log_request
from snorky.cli.brokers import is_joined
from snorky.cli.pages import routes_of
from snorky.cli.program import Hook, Served
from snorky.cli.sockets import address_of, for_this_machine, raise_descriptor_limit, unlink, within
from snorky.cli.workers import Worker
from snorky.limits import Limits
from snorky.log import snorky_log
from snorky.readiness import Readiness
from snorky.request_handlers.backend_door import BackendDoor
from snorky.request_handlers.comet import SnorkyCometHandler
from snorky.request_handlers.front_door import FrontDoor
from snorky.request_handlers.hosts import AllowedHosts
from snorky.request_handlers.http import (
    BackendHTTPHandler,
    LiveHandler,
    MetricsHandler,
    ReadyHandler,
)
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler

TICK = 0.05
"""Seconds between two looks at who is to be sent away: at least twenty clients go in a second."""


def loop_factory() -> Any:
    """uvloop's where it exists."""
    try:
        import uvloop
    except ImportError:  # Windows, PyPy
        return None
    return uvloop.new_event_loop


def hosts_of(served: Served, listening: Sequence[socket.socket]) -> AllowedHosts:
    """Names that a server may be called by, which listens there.

    Behind a proxy it is called whatever the proxy is, which lets nobody come by other names.
    """
    if served.allowed_hosts is None and (served.trusted_proxies or not for_this_machine(listening)):
        return AllowedHosts()
    return AllowedHosts(served.allowed_hosts or ())


def front_door(
    served: Served,
    hosts: AllowedHosts | None = None,
    limits: Limits | None = None,
    readiness: Readiness | None = None,
) -> FrontDoor:
    hosts = AllowedHosts() if hosts is None else hosts
    registry, origins = served.frontend, served.allowed_origins
    route = SnorkyWebSocketHandler.get_route(registry, "/ws", allowed_origins=origins)
    application = Application(
        [
            *hosts.rules,
            route,
            *SnorkyCometHandler.get_routes(registry, "/comet", allowed_origins=origins),
            *SnorkySockJSHandler.get_routes(registry, "/sockjs", allowed_origins=origins),
            *socketio_routes(served),
            ("/live", LiveHandler),
            *ready_routes(readiness, tells=False),
            *routes_of(served.pages),
        ],
        log_function=log_handled,
    )
    return FrontDoor(
        application,
        [route],
        limits=registry.limits if limits is None else limits,
        allowed_hosts=hosts,
        trusted_proxies=served.trusted_proxies,
        log_request=log_request,
    )


def socketio_routes(served: Served) -> list[Any]:
    """No route where python-socketio is not installed."""
    if importlib.util.find_spec("socketio") is None:
        return []
    from snorky.request_handlers.socketio import SnorkySocketIOHandler

    return [
        SnorkySocketIOHandler.get_route(
            served.frontend, "/socket.io", allowed_origins=served.allowed_origins
        )
    ]


def ready_routes(readiness: Readiness | None, *, tells: bool) -> list[Any]:
    if readiness is None:
        return []
    return [("/ready", ReadyHandler, {"readiness": readiness, "tells": tells})]


def backend_application(
    served: Served, hosts: AllowedHosts | None = None, readiness: Readiness | None = None
) -> Application:
    rules = [] if hosts is None else hosts.rules
    routes: list[Any] = [*rules, ("/live", LiveHandler), ("/metrics", MetricsHandler)]
    routes += ready_routes(readiness, tells=True)
    if served.backend is not None:
        options = {"service_registry": served.backend, "api_key": served.api_keys}
        routes.append(("/backend", BackendHTTPHandler, options))
    return Application(routes, log_function=log_handled)


class Stopping:
    """Told by signals: SIGTERM takes its time, SIGINT or a second one does not."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.hurried = asyncio.Event()
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
            loop.add_signal_handler(signal.SIGTERM, self.begin)
            loop.add_signal_handler(signal.SIGINT, self.hurry)

    def begin(self) -> None:
        if self.begun.is_set():
            self.hurried.set()
        self.begun.set()

    def hurry(self) -> None:
        self.hurried.set()
        self.begun.set()


async def run(
    served: Served,
    listening: Sequence[socket.socket],
    backend_listening: Sequence[socket.socket],
    *,
    drain: float = 0.0,
    worker: Worker | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let clients and calls under way finish.

    ``drain``: seconds over which SIGTERM spreads the goodbyes.
    """
    stopping = Stopping()
    descriptors = raise_descriptor_limit()
    await call_hook(served.start, "start")
    await start_services(served)
    readiness = Readiness(registries_of(served))
    limits, backend_connections = within(served.frontend.limits, descriptors)
    frontend_server = front_door(served, hosts_of(served, listening), limits, readiness)
    frontend_server.add_sockets(listening)
    backend_server = BackendDoor(
        backend_application(served, hosts_of(served, backend_listening), readiness),
        limits=(served.backend or served.frontend).limits,
        max_connections=backend_connections,
    )
    backend_server.add_sockets(backend_listening)
    with_backend = served.backend is not None
    if worker is None:
        announce(listening, backend_listening, served.pages, with_backend=with_backend)
    else:
        joined = is_joined(registries_of(served), served.broker)
        worker.is_ready(joined=joined, with_backend=with_backend, parent_gone=stopping.begin)
    relays = [HostedRelay(relay, served.backend) for relay in served.relays]
    for relay in relays:
        relay.start()
    await stopping.begun.wait()
    snorky_log.info("Stopping")
    readiness.is_stopping = True
    if worker is None:
        unlink(listening)
    frontend_server.stop_accepting()
    await finish_calls(registries_of(served))
    await send_away(served.frontend, drain, stopping.hurried)
    frontend_server.stop()
    backend_server.stop()
    for relay in relays:
        await relay.stop()
    await close_clients(served.frontend)
    await backend_server.close_all_connections()
    await frontend_server.close_all_connections()
    await stop_services(served)
    await call_hook(served.stop, "stop")


def announce(
    listening: Sequence[socket.socket],
    backend_listening: Sequence[socket.socket],
    pages: Path | None,
    *,
    with_backend: bool,
    workers: int = 0,
) -> None:
    """Tell in the log where everything is."""
    snorky_log.info(
        "Snorky %s serves clients at %s%s",
        version,
        address_of(listening, "/ws", scheme="ws"),
        f" with {workers} worker{'' if workers == 1 else 's'}" if workers else "",
    )
    if pages is not None:
        # By the name that the page is likely to call us by: else it is of another host.
        address = address_of(listening, "/").replace("//127.0.0.1:", "//localhost:")
        snorky_log.info("Open %s", address)
    snorky_log.info(
        "%s at %s",
        f"{'Back end (/backend), ' if with_backend else ''}/metrics, /ready and /live",
        address_of(backend_listening),
    )


async def start_services(served: Served) -> None:
    """Start services and brokers. Raises click.ClickException where one of them fails."""
    try:
        for registry in registries_of(served):
            await registry.start()
    except Exception as error:
        snorky_log.exception("The services could not be started")
        await stop_services(served)
        with suppress(click.ClickException):  # that is in the log, and this is what matters
            await call_hook(served.stop, "stop")
        raise click.ClickException(f"The services could not be started: {error}") from error


async def stop_services(served: Served) -> None:
    for registry in reversed(registries_of(served)):
        await registry.stop()


def registries_of(served: Served) -> list[ServiceRegistry]:
    return [each for each in (served.frontend, served.backend) if each is not None]


async def call_hook(hook: Hook | None, name: str) -> None:
    """Call ``start`` or ``stop`` of the program. Raises click.ClickException where it fails."""
    if hook is None:
        return
    try:
        done = hook()
        if inspect.isawaitable(done):
            await done
    except Exception as error:
        snorky_log.exception("%s() of the program failed", name)
        raise click.ClickException(f"{name}() of the program failed: {error}") from error


async def finish_calls(registries: Sequence[ServiceRegistry]) -> None:
    """Wait for asynchronous calls under way, for as long as a closing connection may take."""
    tasks = {
        task
        for registry in registries
        for service in registry.registered_services.values()
        for task in getattr(service, "tasks", ())
    }
    if tasks:
        await asyncio.wait(tasks, timeout=registries[0].limits.close_timeout)


async def send_away(registry: ServiceRegistry, seconds: float, hurried: asyncio.Event) -> None:
    """Tell clients one after the other that we go: so they do not come back all at once.

    Those who come meanwhile are told, too. Ends early where nobody is left, or it is ``hurried``.
    """
    ends = monotonic() + seconds
    told: set[Any] = set()
    while not hurried.is_set():
        left = [client for client in registry.clients if client not in told]
        rest = ends - monotonic()
        if not left or rest <= 0:
            return
        for client in left[: ceil(len(left) * TICK / rest)]:
            told.add(client)
            client.close(*close_codes.GOING_AWAY)
        with suppress(TimeoutError):
            async with asyncio.timeout(TICK):
                await hurried.wait()


async def close_clients(registry: ServiceRegistry) -> None:
    """Tell every client that we go, and wait for their goodbyes."""
    for client in tuple(registry.clients):
        client.close(*close_codes.GOING_AWAY)
    with suppress(TimeoutError):
        async with asyncio.timeout(registry.limits.close_timeout):
            while registry.clients:  # noqa: ASYNC110  # rather than an event on every disconnect
                await asyncio.sleep(0.01)
