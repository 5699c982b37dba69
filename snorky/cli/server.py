"""What ``snorky serve`` runs: the ports, what answers on them, and how they end."""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import inspect
import logging
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler, StaticFileHandler

from snorky import ServiceRegistry, close_codes, version
from snorky.cli.program import Hook, Served
from snorky.log import printable, snorky_log
from snorky.request_handlers.comet import SnorkyCometHandler
from snorky.request_handlers.front_door import FrontDoor
from snorky.request_handlers.http import BackendHTTPHandler, LiveHandler, MetricsHandler
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler

STATIC_FILES = Path(__file__).parent.parent / "static"
access_log = logging.getLogger("snorky.access")
LISTEN_BACKLOG = 1024
"""Connections that may wait to be accepted: after a restart all clients come at once."""


def bind(host: str, port: int) -> list[socket.socket]:
    try:
        return bind_sockets(port, host, backlog=LISTEN_BACKLOG)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        raise click.ClickException(
            f"Cannot listen on {host} port {port}: {error.strerror or error}."
            + (" Stop what runs there (another Snorky?), or choose another port." if in_use else "")
        ) from error


def raise_descriptor_limit() -> None:
    """Allow as many open sockets as the system lets us."""
    with suppress(ImportError):  # Windows has no such limit
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def loop_factory() -> Any:
    """uvloop's where it exists."""
    try:
        import uvloop
    except ImportError:  # Windows, PyPy
        return None
    return uvloop.new_event_loop


class _ClientFiles(StaticFileHandler):
    """The JavaScript client, for pages of any origin."""

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Access-Control-Allow-Origin", "*")
        self.set_header("X-Content-Type-Options", "nosniff")


def front_door(served: Served) -> FrontDoor:
    registry, origins = served.frontend, served.allowed_origins
    route = SnorkyWebSocketHandler.get_route(registry, "/ws", allowed_origins=origins)
    application = Application(
        [
            route,
            *SnorkyCometHandler.get_routes(registry, "/comet", allowed_origins=origins),
            *SnorkySockJSHandler.get_routes(registry, "/sockjs", allowed_origins=origins),
            *socketio_routes(served),
            (r"/static/([\w.-]+)", _ClientFiles, {"path": str(STATIC_FILES)}),
            ("/live", LiveHandler),
        ],
        log_function=log_handled,
    )
    return FrontDoor(
        application,
        [route],
        limits=registry.limits,
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


def backend_application(served: Served) -> Application:
    routes: list[Any] = [("/live", LiveHandler), ("/metrics", MetricsHandler)]
    if served.backend is not None:
        options = {"service_registry": served.backend, "api_key": served.api_keys}
        routes.append(("/backend", BackendHTTPHandler, options))
    return Application(routes, log_function=log_handled)


def log_handled(handler: RequestHandler) -> None:
    log_request(handler.request, handler.get_status())


def log_request(request: HTTPServerRequest, status: int) -> None:
    """The access log. Without the query: it may hold tokens.

    Who is forbidden is often a page that may not connect: the browser does not tell it why.
    """
    level = logging.INFO if status < 400 else logging.WARNING if status < 500 else logging.ERROR
    origin = request.headers.get("Origin") if status == 403 else None
    access_log.log(
        level,
        "%s %s %d %s %.1f ms%s",
        request.method,
        printable(request.path),
        status,
        request.remote_ip,
        1000 * request.request_time(),
        "" if origin is None else f", page of {printable(origin)}",
    )


async def run(
    served: Served,
    listening: Sequence[socket.socket],
    backend_listening: Sequence[socket.socket],
) -> None:
    """Serve until SIGTERM or SIGINT, then let clients and calls under way finish."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
            loop.add_signal_handler(number, stopping.set)
    await call_hook(served.start, "start")
    frontend_server = front_door(served)
    frontend_server.add_sockets(listening)
    backend_server = HTTPServer(backend_application(served))
    backend_server.add_sockets(backend_listening)
    snorky_log.info("Snorky %s serves clients at ws://%s/ws", version, _address(listening))
    snorky_log.info(
        "%s at http://%s",
        "Back end (/backend), /metrics and /live" if served.backend else "/metrics and /live",
        _address(backend_listening),
    )
    await stopping.wait()
    snorky_log.info("Stopping")
    frontend_server.stop()
    backend_server.stop()
    await finish_calls((served.frontend, served.backend))
    await close_clients(served.frontend)
    await backend_server.close_all_connections()
    await frontend_server.close_all_connections()
    await call_hook(served.stop, "stop")


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


async def finish_calls(registries: Sequence[ServiceRegistry | None]) -> None:
    """Wait for asynchronous calls under way, for as long as a closing connection may take."""
    tasks = {
        task
        for registry in registries
        if registry is not None
        for service in registry.registered_services.values()
        for task in getattr(service, "tasks", ())
    }
    if tasks:
        await asyncio.wait(tasks, timeout=registries[0].limits.close_timeout)  # type: ignore[union-attr]  # the front end is always there


async def close_clients(registry: ServiceRegistry) -> None:
    """Tell every client that we go, and wait for their goodbyes."""
    for client in tuple(registry.clients):
        client.close(*close_codes.GOING_AWAY)
    with suppress(TimeoutError):
        async with asyncio.timeout(registry.limits.close_timeout):
            while registry.clients:  # noqa: ASYNC110  # rather than an event on every disconnect
                await asyncio.sleep(0.01)


def _address(sockets: Sequence[socket.socket]) -> str:
    host, port = sockets[0].getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
