"""Listening sockets: who is accepted, how many at a time, and what where the system has no more.

What is done with a connection is the business of whoever listens.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from snorky.edges.handshakes import REFUSAL_TYPE, response_head
from snorky.log import snorky_log
from snorky.metrics import metrics

ACCEPTS_PER_TURN = 32
"""Connections accepted before those that are open get their turn."""

SECONDS_OF_REST = 0.5
"""How long nobody is accepted after the system could not: it has no descriptors left, or no memory.
The sockets would wake us all the time, and the backlog keeps the newcomers."""

SECONDS_BETWEEN_WARNINGS = 10.0

_READ_AT_THE_DOOR = 16 * 1024

_TOO_MANY = b"Too many connections"
_TURNED_AWAY = (
    response_head(
        503,
        {
            "Content-Type": REFUSAL_TYPE,
            "Content-Length": str(len(_TOO_MANY)),
            "Connection": "close",
        }.items(),
    )
    + _TOO_MANY
)

Address = Any
"""What ``socket.accept`` says of the peer: its IP address first, or nothing for Unix sockets."""


class AcceptedSocket(socket.socket):
    """Tells its listener when it is closed, whoever closes it."""

    __slots__ = ("listener",)

    listener: Listener

    def close(self) -> None:
        was_open = self.fileno() >= 0
        super().close()
        if was_open and self.fileno() < 0:
            self.listener.connections -= 1

    def detach(self) -> int:
        """uvloop calls it, and closes the descriptor itself."""
        descriptor = super().detach()
        if descriptor >= 0:
            self.listener.connections -= 1
        return descriptor

    def dup(self) -> AcceptedSocket:
        sock = super().dup()
        sock.listener = self.listener
        self.listener.connections += 1
        return sock


class Listener:
    """Accepts connections and gives each to ``take(sock, address)``, not blocking.

    Past ``max_connections`` that are open at a time newcomers are answered with status 503.
    """

    def __init__(
        self, take: Callable[[AcceptedSocket, Address], None], max_connections: int
    ) -> None:
        self.connections = 0
        """How many that were accepted are open."""
        self.max_connections = max_connections
        self._take = take
        self._listening: list[socket.socket] = []
        self._resting: dict[socket.socket, asyncio.TimerHandle] = {}
        self._next_warning = 0.0

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections from listening sockets, which become ours."""
        self._loop = asyncio.get_running_loop()
        for listening in sockets:
            listening.setblocking(False)
            self._listening.append(listening)
            self._loop.add_reader(listening, self._accept, listening)

    def stop(self) -> None:
        """Accept nobody any more."""
        for listening in self._listening:
            resting = self._resting.pop(listening, None)
            if resting is not None:
                resting.cancel()
            else:
                self._loop.remove_reader(listening)
            listening.close()
        self._listening.clear()

    def _accept(self, listening: socket.socket) -> None:
        family, kind, proto = listening.family, listening.type, listening.proto
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, address = listening.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:  # it left before we came
                continue
            except OSError as error:
                self._rest(listening, error)
                return
            sock = AcceptedSocket(family, kind, proto, fileno=accepted.detach())
            sock.listener = self
            sock.setblocking(False)
            self.connections += 1
            if self.connections <= self.max_connections:
                self._take(sock, address)
            else:
                self._turn_away(sock)

    def _rest(self, listening: socket.socket, error: OSError) -> None:
        self._warn("Cannot accept connections, trying again soon: %s", error.strerror or error)
        self._loop.remove_reader(listening)
        self._resting[listening] = self._loop.call_later(SECONDS_OF_REST, self._wake, listening)

    def _wake(self, listening: socket.socket) -> None:
        del self._resting[listening]
        self._loop.add_reader(listening, self._accept, listening)

    def _turn_away(self, sock: socket.socket) -> None:
        metrics.connections_refused += 1
        self._warn("There are %d connections, newcomers are refused", self.max_connections)
        with suppress(OSError):
            sock.send(_TURNED_AWAY)
            sock.shutdown(socket.SHUT_WR)
            # A socket closed with unread input resets the connection, and the answer may be lost.
            sock.recv(_READ_AT_THE_DOOR)
        sock.close()

    def _warn(self, text: str, *args: object) -> None:
        now = self._loop.time()
        if now >= self._next_warning:
            self._next_warning = now + SECONDS_BETWEEN_WARNINGS
            snorky_log.warning(text, *args)
