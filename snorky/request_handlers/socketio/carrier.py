"""What carries Engine.IO on Tornado: requests for as long as a peer polls, then a WebSocket.

Who may come in, and with how much.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from engineio.packet import CLOSE, UPGRADE, Packet  # type: ignore[import-untyped]
from tornado.http1connection import HTTP1Connection
from tornado.web import stream_request_body
from tornado.websocket import WebSocketHandler

from snorky.edges.handshakes import log_refused_page
from snorky.identity import Handshake, origin_allowed
from snorky.limits import DEFAULT_LIMITS, Limits
from snorky.metrics import metrics
from snorky.request_handlers.requests import handshake_of
from snorky.request_handlers.socketio.engine import Engine, log_fault
from snorky.request_handlers.tornado_internals import LogsNoQuery, is_finished

_SEPARATOR = "\x1e"
"""Between the packets of one request or response (Engine.IO protocol, HTTP long-polling)."""

_READ_PAST_LIMIT = 16
"""How many times the limit of a body is read, and dropped, before the connection is cut."""


@stream_request_body
class Carrier(LogsNoQuery, WebSocketHandler):
    """One request, or one WebSocket, of a session.

    Requests carry packets for as long as the peer polls; a WebSocket takes over where it can.
    """

    engine: Engine
    limits: Limits = DEFAULT_LIMITS
    allowed_origins: Sequence[str] | None = None
    received: asyncio.Queue[str | bytes | None]
    """There once it is a WebSocket."""
    has_room: asyncio.Event

    def initialize(self, engine: Engine, allowed_origins: Sequence[str] | None = None) -> None:
        self.engine = engine
        self.limits = engine.limits
        self.allowed_origins = allowed_origins
        self.session: Any = None
        self.handshake: Handshake = handshake_of(self.request)
        self.is_websocket = False
        self._joined = False
        self._body = bytearray()
        self._refusal: tuple[int, str] | None = None

    # Who may come in, and with how much

    def check_origin(self, origin: str) -> bool:
        """Say whether pages of ``origin`` may connect. An override decides alone."""
        return origin_allowed(origin, self.request.host, self.allowed_origins)

    def check_xsrf_cookie(self) -> None:
        """Not asked for: ``check_origin`` guards every request."""

    def check_trusted_origin(self, origin: str) -> bool:
        return self.check_origin(origin)

    def prepare(self) -> None:
        connection = cast(HTTP1Connection, self.request.connection)
        # What is refused is read to its end and dropped, so that the answer arrives.
        connection.set_max_body_size(_READ_PAST_LIMIT * self.limits.max_message_bytes)
        connection.set_body_timeout(self.limits.handshake_timeout)
        with suppress(OSError, AttributeError):  # the peer may have left already
            connection.stream.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, self.limits.socket_send_buffer_bytes
            )
        self.set_header("Cache-Control", "no-store")
        origin = self.handshake.origin
        if origin is not None:
            if not self.check_origin(origin):
                log_refused_page(origin, self.handshake.host, self.handshake.remote_address)
                self._refusal = (403, f"Cross origin requests not allowed: {origin}")
                metrics.clients_refused += 1
                return
            self.set_header("Access-Control-Allow-Origin", origin)
            self.set_header("Access-Control-Allow-Credentials", "true")
            self.set_header("Vary", "Origin")
        self._refusal = self._fault_of_query()

    def _fault_of_query(self) -> tuple[int, str] | None:
        """JSONP is refused: pages of every origin could read it."""
        query = self.handshake.arguments
        if "j" in query:
            return 400, "JSONP is not served"
        transport = self._argument("transport")
        if self.request.method != "OPTIONS" and transport not in self.engine.transports:
            return 400, f"Transport unknown; expected one of {', '.join(self.engine.transports)}"
        sid = self._argument("sid")
        if sid is None and self.request.method != "OPTIONS" and self._argument("EIO") != "4":
            return 400, "Unsupported protocol version: expected EIO=4 (Socket.IO 3 or later)"
        if sid is not None:
            self.session = self.engine.sockets.get(sid)
            if self.session is None and sid not in self.engine.parting:
                return 400, "Session ID unknown"
        elif len(self.engine.sockets) >= self.limits.max_connections:
            metrics.connections_refused += 1
            return 503, "Too many connections"
        return None

    def _argument(self, name: str) -> str | None:
        values = self.handshake.arguments.get(name)
        return values[0] if values else None

    def data_received(self, chunk: bytes) -> None:
        if self._refusal is None:
            self._body += chunk
            if len(self._body) > self.limits.max_message_bytes:
                self._body.clear()
                self._refusal = (413, f"Expected at most {self.limits.max_message_bytes} bytes")

    @property
    def max_message_size(self) -> int:
        return self.limits.max_message_bytes

    # Requests

    async def get(self, *args: Any, **kwargs: Any) -> None:
        if self._refusal is not None:
            self.respond(self._refusal[0], self._refusal[1].encode())
        elif self.request.headers.get("Upgrade", "").lower() == "websocket":
            await super().get()
        elif self._argument("sid") in self.engine.parting:
            rest = self.engine.parting.pop(cast(str, self._argument("sid"))).take_rest()
            packets = [packet.encode(b64=True) for packet in (*rest, Packet(CLOSE))]
            self.respond(200, _SEPARATOR.join(packets).encode())
        else:
            if self.session is not None:
                self.join(self.session)
            await self.engine.handle_request(self)

    async def post(self, *args: Any, **kwargs: Any) -> None:
        """Packets from the peer. A session that sends what is none is closed."""
        if self._refusal is None and self.session is None:
            self._refusal = (400, "Session ID missing")
        if self._refusal is None and self.session.upgraded:
            self._refusal = (400, "The session has moved to WebSocket")
        if self._refusal is None:
            try:
                for text in self._body.decode().split(_SEPARATOR):
                    packet = Packet(encoded_packet=text)
                    if packet.packet_type == UPGRADE:  # each would be answered into the outbox
                        raise ValueError("expected an upgrade over WebSocket")
                    await self.session.receive(packet)
            except Exception as error:
                self._refusal = (400, "Malformed packet")
                log_fault(self, error)
        if self._refusal is None:
            self.respond(200, b"ok")
        else:
            if self.session is not None and self._refusal[0] in (400, 413):
                await self.engine.close_session(self.session)
            self.respond(self._refusal[0], self._refusal[1].encode())

    def options(self, *args: Any, **kwargs: Any) -> None:
        """What browsers ask before a request with headers of the page's own."""
        if self._refusal is not None:
            self.respond(self._refusal[0], self._refusal[1].encode())
            return
        self.set_header("Access-Control-Allow-Methods", "GET, POST")
        asked = self.request.headers.get("Access-Control-Request-Headers")
        if asked:
            self.set_header("Access-Control-Allow-Headers", asked)
        self.set_header("Access-Control-Max-Age", "600")
        self.set_status(204)
        self.finish()

    def respond(self, status: int, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
        if self.request.connection is None or is_finished(self):
            return
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        for name, value in headers:
            self.set_header(name, value)
        self.finish(body)

    def join(self, session: Any) -> None:
        """Carry packets of ``session`` from now on."""
        self.session = session
        self._joined = True
        session.queue.carriers.add(self)

    def on_finish(self) -> None:
        self._leave()

    # WebSocket

    def open(self, *args: str, **kwargs: str) -> None:
        self.is_websocket = True
        self.received, self.has_room = asyncio.Queue(), asyncio.Event()
        self.set_nodelay(True)
        self._serving = asyncio.ensure_future(self._serve())

    async def _serve(self) -> None:
        failed = False
        try:
            await self.engine.handle_request(self)
        except OSError:
            pass
        except Exception as error:  # what is no packet ends in an exception of any kind
            failed = True
            log_fault(self, error)
        if self._joined:
            if failed or self.session.upgraded:
                await self.engine.close_session(self.session)
            else:
                self.session.upgrading = False  # it came to nothing: polling goes on
        self.has_room.set()
        self.close()

    async def on_message(self, message: str | bytes) -> None:
        if self._serving.done():
            return
        self.received.put_nowait(message)
        self.has_room.clear()
        await self.has_room.wait()

    def on_close(self) -> None:
        """The WebSocket has ended; or the peer left while its request waited for an answer."""
        if self.is_websocket:
            self.received.put_nowait(None)
            self.has_room.set()
        elif self.session is not None and self.request.method == "GET":
            # What was taken for this request is lost: the session cannot go on.
            self._closing = asyncio.ensure_future(self.engine.close_session(self.session))
        self._leave()

    def _leave(self) -> None:
        if self.session is not None:
            self.session.queue.carriers.discard(self)

    def cut(self) -> None:
        """Close without a word: a polite close would queue behind what the peer does not read."""
        with suppress(AttributeError):  # it has just ended
            if self.ws_connection is not None:
                self.ws_connection.stream.close()  # type: ignore[union-attr]
            else:
                cast(HTTP1Connection, self.request.connection).stream.close()
