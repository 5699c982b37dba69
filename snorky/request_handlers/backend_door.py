"""The port of the back end: trusted servers come in, and whoever else can reach it.

Nothing is kept of anybody for long: the head of a request, its body, and the pause between two
have a limit, and so has the number of connections.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from socket import socket

from tornado.httpserver import HTTPServer
from tornado.web import Application

from snorky.edges.listening import Address, Listener
from snorky.limits import DEFAULT_LIMITS, Limits
from snorky.request_handlers.watched_stream import WatchedStream

MAX_OTHER_BODY_BYTES = 64 * 1024
"""Longest body of a request that is none to ``BackendHTTPHandler``, which has limits of its own."""


class BackendDoor:
    """Listens for ``application``. ``limits.backend_timeout`` bounds what a connection may take."""

    def __init__(
        self, application: Application, *, limits: Limits = DEFAULT_LIMITS, max_connections: int
    ) -> None:
        self._limits = limits
        self._http_server: HTTPServer = HTTPServer(
            application,
            idle_connection_timeout=limits.backend_timeout,
            body_timeout=limits.backend_timeout,
            max_body_size=MAX_OTHER_BODY_BYTES,
        )
        self._listener = Listener(self._take, max_connections)

    def add_sockets(self, sockets: Iterable[socket]) -> None:
        """Accept connections from listening sockets, which become ours."""
        if sys.platform == "win32":  # its event loop cannot watch a socket that we accept from
            self._http_server.add_sockets(sockets)
        else:
            self._listener.add_sockets(sockets)

    def stop(self) -> None:
        """Accept nobody any more."""
        self._http_server.stop()
        self._listener.stop()

    async def close_all_connections(self) -> None:
        await self._http_server.close_all_connections()

    @property
    def connections(self) -> int:
        return self._listener.connections

    def _take(self, sock: socket, address: Address) -> None:
        self._http_server.handle_stream(WatchedStream(sock, self._limits.write_timeout), address)
