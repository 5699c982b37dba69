"""The front door of ``snorky serve``: WebSockets are let in without a way through Tornado.

It looks at the head of a request while that is still in the socket (MSG_PEEK). Only what is plainly
a WebSocket for one of its routes, complete and without a fault, is taken; everything else goes to
Tornado unread, which answers as ever. So it has no rules of HTTP of its own: it only need not take
anything that Tornado would read differently.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPServerRequest,
    RequestStartLine,
)
from tornado.web import Application

from snorky.connection import HEARTBEAT_SUBPROTOCOL, Connection
from snorky.edges.handshakes import (
    REFUSAL_TYPE,
    admit,
    fault_of,
    response_head,
    select_subprotocol,
    subprotocols_of,
    upgrade_headers,
    why_refused,
)
from snorky.edges.listening import Address, Listener
from snorky.identity import Handshake, Refused, origin_allowed
from snorky.limits import DEFAULT_LIMITS, Limits
from snorky.log import snorky_log
from snorky.metrics import metrics
from snorky.request_handlers.hosts import AllowedHosts
from snorky.request_handlers.proxies import (
    UNKNOWN_ADDRESS,
    BehindProxies,
    TrustedProxies,
    peer_of,
)
from snorky.request_handlers.requests import handshake_of
from snorky.request_handlers.watched_stream import WatchedStream
from snorky.request_handlers.websocket import SnorkyWebSocketHandler, WebSocketClient
from snorky.service_registry import ServiceRegistry

PEEK_BYTES = 16 * 1024
"""Longest head that is taken; Tornado takes longer ones."""

_PLAIN_HEAD = re.compile(rb"GET [!-~]+ HTTP/1\.1\r\n(?:[A-Za-z0-9-]+:[ -~]*\r\n)+\r\n")
"""A head in which nothing is unusual, and whose lines can be read in one way only."""

_NOT_FOR_US = frozenset({"Content-Length", "Transfer-Encoding", "Expect"})
"""Headers of a request that has a body, or asks whether it may send one."""


class WebSocketRoute(NamedTuple):
    """Where WebSockets are let in; the options are those of ``SnorkyWebSocketHandler``."""

    service_registry: ServiceRegistry
    ping_pong_interval: float | None = 90
    allowed_origins: Sequence[str] | None = None


class FrontDoor:
    """Listens for ``application``, and serves those of its ``routes`` that are WebSockets itself.

    ``routes`` are what ``SnorkyWebSocketHandler.get_route`` returned; one whose path is a pattern,
    or whose handler is a subclass, is left to Tornado. ``limits`` bound the connections.
    ``trusted_proxies`` are addresses and networks whose ``X-Forwarded-For`` (or ``X-Real-Ip``) and
    ``X-Forwarded-Proto`` are believed, as Tornado's ``xheaders`` does for everybody. Whom
    ``allowed_hosts`` does not hold is left to ``application``, which should refuse it.
    ``log_request(request, status, why)`` is told of the WebSockets that do not reach
    ``application``; ``why`` they were refused is empty where they were not.
    """

    def __init__(
        self,
        application: Application,
        routes: Iterable[tuple[str, type, dict[str, Any]]],
        *,
        limits: Limits = DEFAULT_LIMITS,
        trusted_proxies: Collection[str] = (),
        allowed_hosts: AllowedHosts | None = None,
        log_request: Callable[[HTTPServerRequest, int, str], None] | None = None,
    ) -> None:
        self._routes = {
            path: WebSocketRoute(**options)
            for path, handler, options in routes
            if handler is SnorkyWebSocketHandler and re.fullmatch(path, path)
        }
        self._limits = limits
        self._proxies = TrustedProxies(trusted_proxies)
        self._hosts = AllowedHosts() if allowed_hosts is None else allowed_hosts
        self._log_request = log_request
        self._http_server: HTTPServer = HTTPServer(
            BehindProxies(application, self._proxies),
            idle_connection_timeout=limits.handshake_timeout,
            body_timeout=limits.handshake_timeout,
            max_body_size=limits.max_message_bytes,
        )
        self._listener = Listener(self._look, limits.max_connections)
        self._silent: dict[socket.socket, tuple[float, Address]] = {}
        """Who has said nothing yet, the longest wait first: when it is cut, and its address."""
        self._sweeping: asyncio.TimerHandle | None = None
        self._handshakes: set[asyncio.Task[None]] = set()

    # Listening

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections from listening sockets, which become ours."""
        self._loop = asyncio.get_running_loop()
        if sys.platform == "win32":
            # Its event loop can neither watch a socket that we read from nor peek.
            self._http_server.add_sockets(sockets)
        else:
            self._listener.add_sockets(sockets)

    def stop_accepting(self) -> None:
        """Accept nobody any more; who has been accepted may still come in."""
        self._http_server.stop()
        self._listener.stop()

    def stop(self) -> None:
        """Accept nobody any more, and cut who has not been let in yet."""
        self._http_server.stop()
        self._listener.stop()
        for sock in self._silent:
            self._loop.remove_reader(sock)
            sock.close()
        self._silent.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for handshake in self._handshakes:
            handshake.cancel()

    async def close_all_connections(self) -> None:
        """Close what is with Tornado; the WebSockets are their registries' clients."""
        if self._handshakes:
            await asyncio.wait(self._handshakes, timeout=self._limits.close_timeout)
        await self._http_server.close_all_connections()

    @property
    def connections(self) -> int:
        """How many are open, whatever they carry."""
        return self._listener.connections

    # Who has said nothing yet

    def _wait(self, sock: socket.socket, address: Address) -> None:
        deadline = self._loop.time() + self._limits.handshake_timeout
        self._silent[sock] = deadline, address
        self._loop.add_reader(sock, self._readable, sock)
        if self._sweeping is None:
            self._sweeping = self._loop.call_at(deadline, self._sweep)

    def _readable(self, sock: socket.socket) -> None:
        self._loop.remove_reader(sock)
        _, address = self._silent.pop(sock)
        self._look(sock, address)

    def _sweep(self) -> None:
        """Cut who has been silent for too long. One timer for all: each waits equally long."""
        now = self._loop.time()
        waits = self._silent.items()
        for sock in [sock for sock, _ in takewhile(lambda wait: wait[1][0] <= now, waits)]:
            self._loop.remove_reader(sock)
            _, address = self._silent.pop(sock)
            if _is_silent(sock):
                metrics.handshakes_timed_out += 1
                sock.close()
            else:  # it was we who had no time
                self._look(sock, address)
        self._sweeping = None
        if self._silent:
            next_deadline, _ = next(iter(self._silent.values()))
            # A little late, so that many who came one after the other are cut together.
            pause = self._limits.handshake_timeout / 20
            self._sweeping = self._loop.call_at(max(next_deadline, now + pause), self._sweep)

    # The request

    def _look(self, sock: socket.socket, address: Address) -> None:
        try:
            seen = sock.recv(PEEK_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            self._wait(sock, address)
            return
        except OSError:
            seen = b""
        if not seen:  # it has left
            sock.close()
            return
        head_bytes = seen.find(b"\r\n\r\n") + 4
        request = self._request_in(seen[:head_bytes], address) if head_bytes > 4 else None
        if request is None:
            # Half a head too: Tornado waits for the rest, and would not be woken by what is here.
            self._hand_over(sock, address)
            return
        task = self._loop.create_task(self._shake_hands(sock, address, request, head_bytes))
        self._handshakes.add(task)
        task.add_done_callback(partial(self._shook_hands, sock))

    def _request_in(self, head: bytes, address: Address) -> HTTPServerRequest | None:
        """The request with this head if it is a WebSocket that we let in, identity aside."""
        if _PLAIN_HEAD.fullmatch(head) is None:
            return None
        start, *fields = head.decode("ascii").split("\r\n")[:-2]
        uri = start.split(" ")[1]
        route = self._routes.get(uri.partition("?")[0])
        if route is None:
            return None
        headers = HTTPHeaders()
        for field in fields:
            name, _, value = field.partition(":")
            headers[name] = value.strip(" ")
        if (
            len(headers) != len(fields)  # one came twice
            or not _NOT_FOR_US.isdisjoint(headers)
            or fault_of(headers) is not None
        ):
            return None
        try:
            request = HTTPServerRequest(
                start_line=RequestStartLine("GET", uri, "HTTP/1.1"),
                headers=headers,
                connection=self._peer(address, headers),
            )
        except HTTPInputError:  # of Host, of the query
            return None
        allowed = request.host in self._hosts and origin_allowed(
            headers.get("Origin"), request.host, route.allowed_origins
        )
        return request if allowed else None

    def _peer(self, address: Address, headers: HTTPHeaders) -> _Peer:
        peer = peer_of(address)
        if peer not in self._proxies:
            return _Peer(peer or UNKNOWN_ADDRESS, "http")
        return _Peer(*self._proxies.visitor(headers, peer, "http"))

    # The answer

    async def _shake_hands(
        self,
        sock: socket.socket,
        address: Address,
        request: HTTPServerRequest,
        head_bytes: int,
    ) -> None:
        route = self._routes[request.path]
        handshake = handshake_of(request)
        try:
            sock.recv(head_bytes)  # what has been seen, and nothing that comes behind it
            identity = await admit(route.service_registry, handshake)
            if _has_left(sock):
                sock.close()
                return
            await self._let_in(sock, request, route, handshake, identity)
        except Refused as refused:
            self._refuse(sock, address, request, refused)
        except OSError:  # it has just left
            sock.close()

    def _shook_hands(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._handshakes.discard(task)
        if task.cancelled():  # the server stops
            sock.close()
        elif (error := task.exception()) is not None:
            snorky_log.error("Unhandled exception in a handshake", exc_info=error)
            sock.close()

    async def _let_in(
        self,
        sock: socket.socket,
        request: HTTPServerRequest,
        route: WebSocketRoute,
        handshake: Handshake,
        identity: Any,
    ) -> None:
        headers = handshake.headers
        subprotocol = select_subprotocol(subprotocols_of(headers))
        answer = upgrade_headers(headers["Sec-WebSocket-Key"], subprotocol)
        limits = route.service_registry.limits
        connection = Connection(
            WebSocketClient(handshake.remote_address, identity),
            route.service_registry,
            limits=limits,
            ping_interval=route.ping_pong_interval,
            head=response_head(101, answer.items()),
            heartbeats=subprotocol == HEARTBEAT_SUBPROTOCOL,
        )
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.socket_send_buffer_bytes)
        self._log(request, 101)
        await self._loop.connect_accepted_socket(lambda: connection, sock)

    def _refuse(
        self, sock: socket.socket, address: Address, request: HTTPServerRequest, refused: Refused
    ) -> None:
        """Tell it why; as with Tornado, it may then ask for something else."""
        metrics.clients_refused += 1
        self._log(request, refused.status, why_refused(refused))
        reason = refused.reason.encode()
        headers = {"Content-Type": REFUSAL_TYPE, "Content-Length": str(len(reason))}
        answer = response_head(refused.status, headers.items()) + reason
        self._hand_over(sock, address, answer)

    def _hand_over(self, sock: socket.socket, address: Address, answer: bytes = b"") -> None:
        """Leave the connection to Tornado, with whatever has not been read of it."""
        stream = WatchedStream(sock, self._limits.write_timeout)
        if answer:
            stream.write(answer)
        self._http_server.handle_stream(stream, address)

    def _log(self, request: HTTPServerRequest, status: int, why: str = "") -> None:
        if self._log_request is not None:
            self._log_request(request, status, why)


def _has_left(sock: socket.socket) -> bool:
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False


def _is_silent(sock: socket.socket) -> bool:
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


class _Peer(HTTPConnection):
    """Where a request came from, as HTTPServerRequest asks for it."""

    __slots__ = ("protocol", "remote_ip")

    def __init__(self, remote_ip: str, protocol: str) -> None:
        self.remote_ip = remote_ip
        self.protocol = protocol

    @property
    def context(self) -> _Peer:
        return self
