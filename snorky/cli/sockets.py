"""The sockets that ``snorky serve`` listens at, and how many connections the system allows."""

from __future__ import annotations

import errno
import logging
import socket
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click
from tornado.netutil import bind_sockets

from snorky.identity.origins import is_loopback
from snorky.limits import DEFAULT_LIMITS, Limits
from snorky.log import snorky_log

LISTEN_BACKLOG = 1024
"""Connections that may wait to be accepted: after a restart all clients come at once."""

MAX_RESERVED_DESCRIPTORS = 512
"""Descriptors kept from clients: for the back end, the program's own files, and Python's. A quarter
of what the system allows, where that is less."""

MAX_BACKEND_CONNECTIONS = 1000
"""Connections to the back end's port at a time. Past it newcomers get status 503."""


def bind(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """``shared``: others of ours may listen there, too; the system spreads who comes."""
    try:
        return bind_sockets(port, host, backlog=LISTEN_BACKLOG, reuse_port=shared)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        raise click.ClickException(
            f"Cannot listen on {host} port {port}: {error.strerror or error}."
            + (" Stop what runs there (another Snorky?), or choose another port." if in_use else "")
        ) from error


def bind_for(workers: int, host: str, port: int) -> list[list[socket.socket]]:
    """Sockets for each of several processes, all at one port."""
    # The port must be ours alone: only then may our own processes share it.
    free = bind(host, port)
    port = free[0].getsockname()[1]
    for each in free:
        each.close()
    return [bind(host, port, shared=True) for _ in range(workers)]


def bind_unix(path: Path) -> list[socket.socket]:
    """A Unix socket, with the permissions that the umask leaves. One that nobody serves goes."""
    if not hasattr(socket, "AF_UNIX"):
        raise click.ClickException("There are no Unix sockets on this system.")
    listening = socket.socket(socket.AF_UNIX)
    try:
        _remove_left_over(path)
        listening.bind(str(path))
        listening.listen(LISTEN_BACKLOG)
    except OSError as error:
        listening.close()
        in_use = error.errno == errno.EADDRINUSE
        raise click.ClickException(
            f"Cannot listen on {path}: {error.strerror or error}."
            + (" Stop what runs there (another Snorky?), or choose another path." if in_use else "")
        ) from error
    return [listening]


def _remove_left_over(path: Path) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX) as trial:
                if trial.connect_ex(str(path)) == errno.ECONNREFUSED:
                    path.unlink()


def unlink(sockets: Iterable[socket.socket]) -> None:
    """Remove the files of Unix sockets that are served no more."""
    for listening in sockets:
        if is_unix(listening):
            with suppress(OSError):
                Path(listening.getsockname()).unlink()


def is_unix(listening: socket.socket) -> bool:
    return hasattr(socket, "AF_UNIX") and listening.family == socket.AF_UNIX


def for_this_machine(sockets: Iterable[socket.socket]) -> bool:
    """Whether nobody but this machine reaches any of them, by an IP address of its own."""
    return all(not is_unix(sock) and is_loopback(sock.getsockname()[0]) for sock in sockets)


def address_of(sockets: Sequence[socket.socket], path: str = "", scheme: str = "http") -> str:
    """The address of the first, as a person can use it."""
    if is_unix(sockets[0]):
        return f"unix:{sockets[0].getsockname()}:{path}"
    host, port = sockets[0].getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"


def raise_descriptor_limit() -> int | None:
    """Allow as many open sockets as the system lets us. Returns how many; None where it has no
    limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def within(limits: Limits, descriptors: int | None) -> tuple[Limits, int]:
    """The limits of the front end that the system allows, and the connections of the back end."""
    if descriptors is None:
        return limits, MAX_BACKEND_CONNECTIONS
    reserved = min(MAX_RESERVED_DESCRIPTORS, descriptors // 4)
    clients = min(limits.max_connections, descriptors - reserved)
    if clients < limits.max_connections:
        chosen = limits.max_connections != DEFAULT_LIMITS.max_connections
        snorky_log.log(
            logging.WARNING if chosen else logging.INFO,
            "At most %d connections of clients, not %d (max_connections): the system allows %d "
            "open files (ulimit -n, LimitNOFILE), of which %d are kept for the back end and others",
            clients,
            limits.max_connections,
            descriptors,
            reserved,
        )
    for_backend = max(1, (descriptors - clients) // 2)
    return replace(limits, max_connections=clients), min(MAX_BACKEND_CONNECTIONS, for_backend)
