"""WebSocket through Tornado: it parses HTTP and routes; then the connection is taken out of it.

Tornado's own WebSocket code costs several times more per message and per idle connection, so the
socket moves to ``snorky.connection`` as soon as the handshake is accepted.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import sys
from collections.abc import Awaitable, Sequence
from typing import Any

from tornado import httputil
from tornado.escape import json_encode, utf8
from tornado.iostream import IOStream
from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from snorky.connected_client import ConnectedClient
from snorky.connection import HEARTBEAT_SUBPROTOCOL, Connection
from snorky.edges.handshakes import (
    REFUSAL_TYPE,
    admit,
    fault_of,
    log_refused_page,
    response_head,
    select_subprotocol,
    subprotocols_of,
    upgrade_headers,
    why_refused,
)
from snorky.identity import Handshake, Refused, origin_allowed
from snorky.metrics import metrics
from snorky.protocols.websocket_frames import BINARY, TEXT, encode_frame
from snorky.request_handlers.requests import handshake_of
from snorky.request_handlers.stream_transport import StreamTransport
from snorky.request_handlers.tornado_internals import (
    LogsNoQuery,
    bytes_read_ahead,
    headers_of,
)
from snorky.service_registry import ServiceRegistry


class WebSocketClient(ConnectedClient):
    """A client that came by WebSocket.

    ``req_handler`` is its request handler. The plain SnorkyWebSocketHandler is dropped with its
    request once every service knows of the client (None then), a subclass stays. Who came through
    ``snorky.request_handlers.front_door`` has none.
    """

    req_handler: SnorkyWebSocketHandler | None = None


class SnorkyWebSocketHandler(LogsNoQuery, WebSocketHandler):
    """Accepts WebSockets for the services of a registry.

    Subclasses may override ``check_origin``, ``open``, ``on_message`` and ``on_close`` (calling
    super), and everything else of Tornado's handler: ``prepare``, ``select_subprotocol``,
    ``write_message``, ``ping``, ``on_ping``... ``self.client`` exists before ``open``.
    """

    client: WebSocketClient
    refusal = ""
    """Why it was refused, for the log."""

    @classmethod
    def get_route(
        cls, service_registry: ServiceRegistry, path: str = "/", **options: Any
    ) -> tuple[str, type[SnorkyWebSocketHandler], dict[str, Any]]:
        """A route for ``tornado.web.Application``.

        Options: ``ping_pong_interval`` in seconds (90; 0 or None: no pings), ``allowed_origins``
        (see ``snorky.identity.origin_allowed``).
        """
        return path, cls, {"service_registry": service_registry, **options}

    def __init__(
        self,
        application: Application,
        request: httputil.HTTPServerRequest,
        service_registry: ServiceRegistry,
        ping_pong_interval: float | None = 90,
        allowed_origins: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.service_registry = service_registry
        self.ping_pong_interval = ping_pong_interval
        self.allowed_origins = allowed_origins
        self._connection: Connection | None = None
        self._subprotocol: str | None = None
        super().__init__(application, request, **kwargs)

    # The handshake

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """The handshake. Groups in the route's path reach ``open`` as arguments."""
        self.open_args = args
        self.open_kwargs = kwargs
        fault = fault_of(self.request.headers)
        if fault is not None:
            self._refuse(*fault)
            return
        handshake = handshake_of(self.request)
        if handshake.origin is not None and not self.check_origin(handshake.origin):
            log_refused_page(handshake.origin, handshake.host, handshake.remote_address)
            self._refuse(403, f"Cross origin websockets not allowed: {handshake.origin}")
            return
        try:
            identity = await admit(self.service_registry, handshake)
        except Refused as refused:
            self.refusal = why_refused(refused)
            self._refuse(refused.status, refused.reason)
            return
        self.client = WebSocketClient(self.request.remote_ip, identity)
        self.client.req_handler = self
        await self._accept(handshake)

    def check_origin(self, origin: str) -> bool:
        """Say whether pages of ``origin`` may connect. An override decides alone."""
        return origin_allowed(origin, self.request.host, self.allowed_origins)

    def _refuse(self, status: int, reason: str) -> None:
        metrics.clients_refused += 1
        self.set_status(status)
        if status == 426:
            self.set_header("Sec-WebSocket-Version", "13")
        self.set_header("Content-Type", REFUSAL_TYPE)
        self.finish(reason)

    async def _accept(self, handshake: Handshake) -> None:
        self._subprotocol = self.select_subprotocol(subprotocols_of(handshake.headers))
        limits = self.service_registry.limits
        head = self._head_of_101()
        stream = self.detach()
        if stream.closed():
            return  # it left while it was being admitted
        self.application.log_request(self)
        stream.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, limits.socket_send_buffer_bytes
        )
        # The plain handler is not needed any more; what a subclass overrides is told to it.
        plain = type(self) is SnorkyWebSocketHandler
        connection = (Connection if plain else _HandlerConnection)(
            self.client,
            self.service_registry if plain else _HandlerReceiver(self),
            limits=limits,
            ping_interval=self.ping_pong_interval,
            head=head,
            heartbeats=self._subprotocol == HEARTBEAT_SUBPROTOCOL,
        )
        if not plain:
            self._connection = connection
        if type(stream) is not IOStream or sys.platform == "win32":
            stream.set_nodelay(True)
            StreamTransport(stream).start(connection)
        else:
            await _move(stream, connection)
        if plain:
            self._let_go()

    def _let_go(self) -> None:
        """Leave no cycle for the collector: with many clients it comes late."""
        self._connection = None
        self.client.req_handler = None
        self.ui = None  # type: ignore[assignment]  # Tornado does the same in _break_cycles

    def _head_of_101(self) -> bytes:
        """The response, sent by the new transport: no byte of the peer comes before it is ready.

        Headers and cookies that the handler has set go with it.
        """
        self.set_status(101)
        self.clear_header("Content-Type")
        key = self.request.headers["Sec-WebSocket-Key"]
        for name, value in upgrade_headers(key, self._subprotocol).items():
            self.set_header(name, value)
        return response_head(101, headers_of(self))

    def on_connection_close(self) -> None:
        """The peer left before it was admitted: neither ``open`` nor ``on_close`` is called."""

    # What subclasses override

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return select_subprotocol(subprotocols)

    def open(self, *args: str, **kwargs: str) -> Awaitable[None] | None:
        if self.client.connected:  # it may have left while an override was at work
            self.service_registry.client_connected(self.client)
        return None

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        if self.client.connected:
            self.service_registry.process_message_raw(self.client, message)
        return None

    def on_close(self) -> None:
        self.service_registry.client_disconnected(self.client)

    # What subclasses call

    @property
    def selected_subprotocol(self) -> str | None:
        return self._subprotocol

    def write_message(
        self, message: bytes | str | dict[str, Any], binary: bool = False
    ) -> asyncio.Future[None]:
        """Send a message as it is. Raises WebSocketClosedError where the connection has ended."""
        connection = self._open_connection()
        if isinstance(message, dict):
            message = json_encode(message)
        connection.send_frame(encode_frame(BINARY if binary else TEXT, utf8(message)))
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent

    def ping(self, data: str | bytes = b"") -> None:
        self._open_connection().ping(utf8(data))

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        if self._connection is not None:
            self._connection.close(code or 1000, reason or "")

    def set_nodelay(self, value: bool) -> None:
        """Always on: messages leave at once."""

    def _open_connection(self) -> Connection:
        if self._connection is None or self._connection.closing:
            raise WebSocketClosedError()
        return self._connection


class _HandlerConnection(Connection):
    """A connection whose pings and pongs a subclass of the handler hears of."""

    __slots__ = ()

    def ping_received(self, data: bytes) -> None:
        super().ping_received(data)
        self.client.req_handler.on_ping(data)

    def pong_received(self, data: bytes) -> None:
        self.client.req_handler.on_pong(data)


class _HandlerReceiver:
    """Tells a subclass of the handler what its connection has to tell."""

    def __init__(self, handler: SnorkyWebSocketHandler) -> None:
        self._handler = handler

    def client_connected(self, client: WebSocketClient) -> Awaitable[None] | None:
        handler = self._handler
        return _awaitable(handler.open(*handler.open_args, **handler.open_kwargs))

    def process_message_raw(
        self, client: WebSocketClient, text: str | bytes
    ) -> Awaitable[None] | None:
        return _awaitable(self._handler.on_message(text))

    def client_disconnected(self, client: WebSocketClient) -> None:
        handler, connection = self._handler, client.connection
        if connection is not None and connection.close_code not in (1005, 1006):
            # As with Tornado: what the close frame said, None where there was none.
            handler.close_code = connection.close_code
            handler.close_reason = connection.close_reason or None
        try:
            handler.on_close()
        finally:
            handler._let_go()


def _awaitable(result: Any) -> Awaitable[None] | None:
    return result if inspect.isawaitable(result) else None


async def _move(stream: IOStream, connection: Connection) -> None:
    """Move a plain socket from Tornado's stream to an asyncio transport."""
    # What Tornado has read already; what is still in the socket comes by itself.
    early_bytes = bytes_read_ahead(stream)
    if early_bytes:
        connection.early = await stream.read_bytes(early_bytes)
    try:
        sock = stream.socket.dup()
    finally:
        stream.close()
    await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
