"""``snorky serve``: run the registries that a Python file defines, until told to stop."""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import ipaddress
import logging
import os
import re
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler, StaticFileHandler

from snorky import ServiceRegistry, close_codes, version
from snorky.cli.collector import settle_collector
from snorky.log import printable, snorky_log
from snorky.request_handlers.comet import SnorkyCometHandler
from snorky.request_handlers.front_door import FrontDoor
from snorky.request_handlers.http import BackendHTTPHandler, LiveHandler, MetricsHandler
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler

STATIC_FILES = Path(__file__).parent.parent / "static"
access_log = logging.getLogger("snorky.access")
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s]+/?", re.ASCII | re.IGNORECASE)
LISTEN_BACKLOG = 1024
"""Connections that may wait to be accepted: after a restart all clients come at once."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a file defines to be served."""

    frontend: ServiceRegistry
    backend: ServiceRegistry | None
    api_keys: tuple[str, ...]
    allowed_origins: tuple[str, ...] | None
    trusted_proxies: tuple[str, ...] = ()


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address for clients.")
@click.option(
    "--port",
    default=5001,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port for clients; 0: any free one.",
)
@click.option(
    "--backend-host", default="127.0.0.1", show_default=True, help="Address for the back end."
)
@click.option(
    "--backend-port",
    default=5002,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port for the back end, /metrics and /live; 0: any free one.",
)
@click.option(
    "--allowed-origin",
    "allowed_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Pages that may connect, as https://example.com, beside those of the same host name. "
    "May be given several times; '*' allows every page.",
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    help="A proxy in front of the port for clients: its X-Forwarded-For (or X-Real-Ip) and "
    "X-Forwarded-Proto are believed. May be given several times.",
)
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="What is logged, to standard error; info includes a line per connection.",
)
def serve(
    file: Path,
    host: str,
    port: int,
    backend_host: str,
    backend_port: int,
    allowed_origins: tuple[str, ...],
    trusted_proxies: tuple[str, ...],
    log_level: str,
) -> None:
    """Serve the services that FILE, a Python program, defines.

    \b
    FILE defines
      frontend         ServiceRegistry for clients, at ws://HOST:PORT/ws; where no WebSocket
                       comes through, at http://HOST:PORT/comet; for SockJS clients at /sockjs,
                       for Socket.IO clients at /socket.io (pip install "snorky[socketio]")
      backend          ServiceRegistry for trusted servers (optional), POST to
                       http://BACKEND_HOST:BACKEND_PORT/backend with the key in the
                       header X-Backend-Key
      api_key          the key, or a list of keys of which any opens (optional: else the
                       environment variable SNORKY_API_KEY, several separated by commas)
      allowed_origins  a list, as --allowed-origin (optional)

    The JavaScript client is at http://HOST:PORT/static/snorky.js. SIGTERM and Ctrl-C stop the
    server: clients are told to come back, calls under way are finished.
    """
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    check_proxies(trusted_proxies)
    served = replace(load(file, allowed_origins), trusted_proxies=trusted_proxies)
    listening = bind(host, port)
    backend_listening = bind(backend_host, backend_port)
    raise_descriptor_limit()
    settle_collector()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run(served, listening, backend_listening))


def load(file: Path, more_origins: Sequence[str] = ()) -> Served:
    """Run ``file`` and take what it defines. Raises click.ClickException, which names the fault."""
    module = run_file(file)
    frontend = getattr(module, "frontend", None)
    if not isinstance(frontend, ServiceRegistry):
        raise click.ClickException(
            f"{file} must define frontend = ServiceRegistry([...]); "
            f"got {_kind(module, 'frontend')}."
        )
    backend = getattr(module, "backend", None)
    if backend is not None and not isinstance(backend, ServiceRegistry):
        raise click.ClickException(
            f"backend in {file} must be a ServiceRegistry; got {_kind(module, 'backend')}."
        )
    api_key = getattr(module, "api_key", None) or os.environ.get("SNORKY_API_KEY", "").split(",")
    keys = [api_key] if isinstance(api_key, str) else list(api_key)
    api_keys = tuple(key.strip() for key in keys if key.strip())
    if backend is not None and not api_keys:
        raise click.ClickException(
            f"{file} defines a back end, but there is no key for it: "
            "set the environment variable SNORKY_API_KEY, or define api_key in the file."
        )
    origins = getattr(module, "allowed_origins", None)
    if isinstance(origins, str):
        raise click.ClickException(f"allowed_origins in {file} must be a list; got str.")
    if origins is not None or more_origins:
        origins = (*(origins or ()), *more_origins)
        check_origins(origins)
    return Served(frontend, backend, api_keys, origins)


def check_origins(origins: Sequence[str]) -> None:
    for origin in origins:
        if origin not in ("*", "null") and not ORIGIN.fullmatch(origin):
            raise click.ClickException(
                "An allowed origin is a scheme and a host, as https://example.com, or '*'; "
                f"got {origin!r}."
            )


def check_proxies(addresses: Sequence[str]) -> None:
    for address in addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise click.ClickException(
                f"A trusted proxy is an IP address, as 127.0.0.1; got {address!r}."
            ) from None


def _kind(module: ModuleType, name: str) -> str:
    return type(getattr(module, name)).__name__ if hasattr(module, name) else "nothing"


def run_file(file: Path) -> ModuleType:
    """Import ``file`` under its own name; what lies beside it can be imported by it."""
    directory = str(file.resolve().parent)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    spec = importlib.util.spec_from_file_location(file.stem, file.resolve())
    if spec is None or spec.loader is None:
        raise click.ClickException(f"{file} is not a Python file; expected a name ending in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename != str(file.resolve()):
            frames = frames.tb_next
        # From the file on: how it came to be run is of no interest. A syntax error has no frame.
        text = "".join(traceback.format_exception(type(error), error, frames))
        raise click.ClickException(f"{file} cannot be run.\n{text}") from error
    return module


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
