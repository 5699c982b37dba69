"""``snorky serve``: run the registries that a Python file defines, until told to stop."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from dataclasses import replace
from pathlib import Path

import click

from snorky.cli.brokers import check_joined
from snorky.cli.collector import settle_collector
from snorky.cli.ending import end_within
from snorky.cli.log_writer import STANDARD_ERROR, LogWriter
from snorky.cli.pages import check_pages
from snorky.cli.program import check_proxies, load
from snorky.cli.reload import serve_again_and_again
from snorky.cli.server import announce, loop_factory, registries_of, run
from snorky.cli.sockets import bind, bind_for, bind_unix, unlink
from snorky.cli.workers import Worker, supervise


@click.command()
@click.argument(
    "file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address for clients.")
@click.option(
    "--port",
    default=5001,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port for clients; 0: any free one.",
)
@click.option(
    "--unix-socket",
    type=click.Path(path_type=Path),
    help="Listen for clients there, and not at HOST and PORT: for a proxy on the same machine, "
    "which is trusted.",
)
@click.option(
    "--page",
    "pages",
    type=click.Path(exists=True, path_type=Path),
    help="A page, or a folder of pages with its index.html, to be served at http://HOST:PORT/.",
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
    help="Pages that may connect, as https://example.com or https://*.example.com, beside those of "
    "the same host name; 'null' are those opened from disk. May be given several times; '*' allows "
    "every page.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name that the server is called by, as live.example.com. Needed for names of a server "
    "at a loopback address without a trusted proxy. May be given several times; '*' is any.",
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    help="A proxy in front of the port for clients, or a network of them, as 10.0.0.0/8: its "
    "X-Forwarded-For (or X-Real-Ip) and X-Forwarded-Proto are believed. May be given several "
    "times.",
)
@click.option(
    "--broker",
    "broker_url",
    envvar="SNORKY_BROKER",
    show_envvar=True,
    metavar="URL",
    help="What joins this process to others, for services that were made without a broker: "
    "redis://HOST:PORT (Redis or Valkey; rediss:// with TLS) or postgresql://...",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Run N processes that share the ports; SIGHUP replaces them one after the other. More "
    "than one need a broker that joins them.",
)
@click.option(
    "--drain",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long SIGTERM takes to send the clients away, so that they do not come back all at "
    "once.",
)
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="What is logged, to standard error; info includes a line per connection.",
)
@click.option(
    "--reload",
    is_flag=True,
    help="Start anew whenever a Python file in FILE's folder changes. For development.",
)
def serve(
    file: Path | None,
    host: str,
    port: int,
    unix_socket: Path | None,
    pages: Path | None,
    backend_host: str,
    backend_port: int,
    allowed_origins: tuple[str, ...],
    allowed_hosts: tuple[str, ...],
    trusted_proxies: tuple[str, ...],
    broker_url: str | None,
    workers: int | None,
    drain: float,
    log_level: str,
    reload: bool,
) -> None:
    """Serve the services that FILE, a Python program, defines.

    Without FILE these are the lists of a web application: a DataSyncService "datasync" for pages,
    and its back end, "datasync_backend".

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
      allowed_hosts    a list, as --allowed-host (optional)
      broker           a Broker, or its address as --broker, for services that were made
                       without one (optional)
      relay            the address of a database with triggers, or a Relay of
                       snorky.backend.outbox, or a list of these: they run here (optional)
      start, stop      functions without parameters, plain or async, called in the event
                       loop before the first client and after the last (optional): for
                       pools, periodic jobs, listeners

    The JavaScript client is at http://HOST:PORT/static/snorky.js. SIGTERM and Ctrl-C stop the
    server: clients are told to come back, calls under way are finished. /ready says by its
    status, at both ports, whether clients may be sent here.
    """
    if reload:
        if file is None:
            raise click.UsageError("--reload needs a FILE: nothing else changes.")
        arguments = [word for word in sys.argv[1:] if word != "--reload"]
        serve_again_and_again(file, arguments)
        return
    logging.basicConfig(level=log_level.upper(), handlers=[LogWriter(STANDARD_ERROR)])
    check_proxies(trusted_proxies)
    if pages is not None:
        check_pages(pages)
    worker = Worker.take()
    if workers is not None and worker is None:
        _supervise(workers, (host, port), unix_socket, (backend_host, backend_port), pages)
        return
    served = load(file, allowed_origins, allowed_hosts, broker_url)
    if workers is not None and workers > 1:
        check_joined(registries_of(served), served.broker, workers)
    served = replace(served, trusted_proxies=trusted_proxies, pages=pages)
    if worker is not None:
        listening, backend_listening = worker.frontend, worker.backend
    else:
        listening = bind(host, port) if unix_socket is None else bind_unix(unix_socket)
        backend_listening = bind(backend_host, backend_port)
    settle_collector()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        status = 1
        try:
            runner.run(run(served, listening, backend_listening, drain=drain, worker=worker))
            status = 0
        finally:
            end_within(served.frontend.limits.close_timeout, status)


def _supervise(
    workers: int,
    address: tuple[str, int],
    unix_socket: Path | None,
    backend_address: tuple[str, int],
    pages: Path | None,
) -> None:
    """Listen, and let workers serve."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise click.ClickException("--workers needs SO_REUSEPORT, which this system lacks.")
    if unix_socket is None:
        listening = bind_for(workers, *address)
    else:
        listening = [bind_unix(unix_socket)] * workers
    backend_listening = bind_for(workers, *backend_address)
    supervise(
        listening,
        backend_listening,
        lambda with_backend: announce(
            listening[0], backend_listening[0], pages, with_backend=with_backend, workers=workers
        ),
    )
    unlink(listening[0])
