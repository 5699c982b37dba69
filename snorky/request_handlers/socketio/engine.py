"""Engine.IO on Tornado: sessions over long polling and WebSocket, each with a bounded outbox.

python-engineio knows the protocol and runs the sessions. This is its driver for Tornado, and what
it leaves open: origins, sizes, what waits for a peer, and the ends of connections.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import engineio  # type: ignore[import-untyped]
from engineio.exceptions import QueueEmpty  # type: ignore[import-untyped]
from engineio.packet import CLOSE, OPEN, UPGRADE, Packet  # type: ignore[import-untyped]
from tornado.http1connection import HTTP1Connection
from tornado.web import stream_request_body
from tornado.websocket import WebSocketHandler

from snorky.edges.handshakes import handshake_of, log_refused_page
from snorky.identity import Handshake, origin_allowed
from snorky.limits import DEFAULT_LIMITS, Limits
from snorky.log import snorky_log
from snorky.metrics import metrics
from snorky.protocols.websocket_frames import BINARY, TEXT, encode_frame
from snorky.request_handlers.socketio.engine_session import EngineSession

_SEPARATOR = "\x1e"
"""Between the packets of one request or response (Engine.IO protocol, HTTP long-polling)."""

_PACKET_TYPES = frozenset("0123456b")
"""What the text of a packet begins with; ``b`` is for bytes in base64."""

_READ_PAST_LIMIT = 16
"""How many times the limit of a body is read, and dropped, before the connection is cut."""


class Outbox(asyncio.Queue[Any]):
    """Packets on their way to one peer, in order. None is the end."""

    def __init__(self) -> None:
        super().__init__()
        self.unsent_bytes = 0
        """Of what waits here, and of what was taken and is not known to be sent."""
        self.carriers: set[Carrier] = set()
        """Requests and WebSockets that serve the session now."""
        self.ended = False
        self._taken_bytes = 0
        self._shrunk = asyncio.Event()

    async def get(self) -> Any:
        # Who asks for more has sent what it took: the peer polls anew, or the writer goes on.
        self.sent(self._taken_bytes)
        return await super().get()

    def sent(self, nbytes: int) -> None:
        """Note that bytes which were taken have left."""
        nbytes = min(nbytes, self._taken_bytes)
        self._taken_bytes -= nbytes
        self.unsent_bytes -= nbytes
        self._shrunk.set()

    async def wait_until_below(self, nbytes: int) -> None:
        """Return when less is unsent, or when the session has ended."""
        while self.unsent_bytes > nbytes and not self.ended:
            self._shrunk.clear()
            await self._shrunk.wait()

    def end(self, close_timeout: float) -> None:
        """Send what waits, then nothing; cut what has not closed by itself in time."""
        if not self.ended:
            self.ended = True
            self._shrunk.set()
            self.put_nowait(None)
            asyncio.get_running_loop().call_later(close_timeout, self.cut)

    def take_rest(self) -> list[Any]:
        """Take what still waits after the end."""
        rest = []
        while not self.empty():
            packet = self.get_nowait()
            if packet is not None:
                rest.append(packet)
        return rest

    def cut(self) -> None:
        """Cut the connections of the session, whatever waits."""
        self.take_rest()
        for carrier in tuple(self.carriers):
            carrier.cut()

    def _put(self, item: Any) -> None:
        super()._put(item)
        self.unsent_bytes += _size_of(item)

    def _get(self) -> Any:
        item = super()._get()
        self._taken_bytes += _size_of(item)
        return item


def _size_of(packet: Any) -> int:
    data = None if packet is None else packet.data
    if isinstance(data, str):
        return byte_length(data) + 1  # the type of the packet
    return len(data) if isinstance(data, bytes) else 0


def byte_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """python-engineio's server with the driver of this module."""

    def __init__(self, **options: Any) -> None:
        super().__init__(async_mode="tornado", **options)
        self.parting: dict[str, Outbox] = {}
        """What waits for peers whose session has ended between two of their requests."""
        self._async = {
            "asyncio": True,
            "translate_request": _translate_request,
            "make_response": _make_response,
            "websocket": _WebSocket,
        }

    def part_with(self, session: Any, close_timeout: float) -> None:
        """A session has ended: send what waits, also to a peer that is about to poll for it."""
        del self.sockets[session.sid]
        if not session.upgraded and not session.queue.empty() and not session.queue.carriers:
            self.parting[session.sid] = session.queue
            asyncio.get_running_loop().call_later(
                close_timeout, self.parting.pop, session.sid, None
            )
        session.queue.end(close_timeout)

    def create_queue(self, *args: Any, **kwargs: Any) -> Outbox:
        return Outbox()

    def use_transports(self, names: Sequence[str]) -> None:
        self.transports = list(names)
        self.allow_upgrades = "websocket" in names

    async def _handle_connect(
        self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None
    ) -> Any:
        """A new session. Like python-engineio's, which makes its own kind of session, and tells
        the client an interval between pings in whole seconds."""
        start: bool = self.start_service_task  # type: ignore[has-type]  # python-engineio has no types
        if start:
            self.start_service_task = False
            self.service_task_handle = self.start_background_task(self._service_task)
        sid = self.generate_id()
        session = self.sockets[sid] = EngineSession(self, sid)
        opening = {
            "sid": sid,
            "upgrades": self._upgrades(sid, transport),
            "pingTimeout": int(self.ping_timeout * 1000),
            "pingInterval": int(self.ping_interval * 1000),
            "maxPayload": self.max_http_buffer_size,
        }
        await session.send(Packet(OPEN, opening))
        refusal = await self._trigger_event("connect", sid, environ, run_async=False)
        if refusal is not None and refusal is not True:
            del self.sockets[sid]
            return self._unauthorized(refusal or None)
        session.schedule_ping()
        if transport == "websocket":
            response = await session.handle_get_request(environ)
            if session.closed:
                self.sockets.pop(sid, None)
            return response
        session.connected = True
        try:
            return self._ok(await session.poll(), jsonp_index=jsonp_index)
        except QueueEmpty:
            return self._bad_request()

    async def close_session(self, session: Any) -> None:
        """End a session: who waits for it is told, what was sent before still goes out."""
        await session.close(wait=False, abort=True, reason=self.reason.SERVER_DISCONNECT)


def _translate_request(carrier: Carrier) -> dict[str, Any]:
    """What python-engineio asks of a request."""
    request = carrier.request
    return {
        "REQUEST_METHOD": request.method,
        "QUERY_STRING": request.query,
        "HTTP_CONNECTION": request.headers.get("Connection", ""),
        "HTTP_UPGRADE": request.headers.get("Upgrade", ""),
        "snorky.carrier": carrier,
    }


def _make_response(
    status: str, headers: list[tuple[str, str]], payload: bytes, environ: dict[str, Any]
) -> None:
    carrier: Carrier = environ["snorky.carrier"]
    if carrier.is_websocket:
        carrier.close(1002, "refused")  # it was accepted already: there is no response any more
    else:
        if not payload and carrier.request.method == "GET":
            # A poll is answered by a packet at least; python-engineio has none left to give.
            payload = Packet(CLOSE).encode().encode()
        carrier.respond(int(status.split()[0]), payload, headers)


def _raise(error: BaseException) -> None:
    raise error


class _WebSocket:
    """What python-engineio reads from and writes to."""

    def __init__(self, run: Any, server: Any) -> None:
        self._run = run
        self._session = run.__self__
        self._first: str | bytes | None = None

    async def __call__(self, environ: dict[str, Any]) -> None:
        self._carrier: Carrier = environ["snorky.carrier"]
        self._carrier.join(self._session)
        if not self._session.connected:
            await self._run(self)
            return
        # An upgrade. There are networks through which the handshake passes and nothing else: until
        # the first frame is here, polls go on; and the next one has to follow.
        async with self._deadline():
            self._first = await self.wait()
        await self._run(self)

    def _deadline(self) -> asyncio.Timeout:
        return asyncio.timeout(self._carrier.limits.handshake_timeout)

    async def wait(self) -> str | bytes:
        """The next message. Raises OSError where there is none."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if not self._session.upgrading:
            return await self._next()
        try:
            async with self._deadline():
                return await self._next()
        except TimeoutError as error:
            raise OSError("the upgrade was not finished") from error

    async def _next(self) -> str | bytes:
        try:
            message = await self._carrier.received.get()
        except asyncio.CancelledError:
            if not self._session.closed:
                metrics.clients_silent += 1  # python-engineio has waited for long enough
            raise
        if message is None:
            raise OSError("the peer has gone")
        if isinstance(message, str) and not self._is_expected(message[:1]):
            fault = OSError("expected a packet")
            _log_fault(self._carrier, fault)
            raise fault
        self._carrier.has_room.set()
        return message

    def _is_expected(self, packet_type: str) -> bool:
        # For a type that is none python-engineio would write a traceback into the log, and go on;
        # for each upgrade behind the first it would put an answer into the outbox.
        upgrades_again = packet_type == str(UPGRADE) and self._session.upgraded
        return packet_type in _PACKET_TYPES and not upgrades_again

    async def send(self, message: str | bytes) -> None:
        connection = self._carrier.ws_connection
        if connection is None or connection.is_closing():
            raise OSError("the peer has gone")
        opcode, payload = (
            (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
        )
        try:
            # Past Tornado's write_message, which makes a task of each. Waits until the operating
            # system has it: what comes meanwhile waits in the outbox.
            await connection.stream.write(encode_frame(opcode, payload))  # type: ignore[union-attr]
        except (KeyboardInterrupt, SystemExit) as stop:
            # python-engineio would take it for a peer that has gone, and the program would go on.
            # Later, since CPython 3.11 crashes at its end where a queue has woken a task that has
            # not run since.
            asyncio.get_running_loop().call_later(0.01, _raise, stop)
            raise OSError("the program is being stopped") from stop
        self._session.queue.sent(len(payload))

    async def close(self) -> None:
        self._carrier.close()


@stream_request_body
class Carrier(WebSocketHandler):
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
                _log_fault(self, error)
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
        if self.request.connection is None or self._finished:
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

    def _request_summary(self) -> str:
        # What the access log shows of a request, less the query: it names the session.
        return f"{self.request.method} {self.request.path} ({self.request.remote_ip})"

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
            _log_fault(self, error)
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


def _log_fault(carrier: Carrier, error: Exception) -> None:
    metrics.messages_refused += 1
    snorky_log.info(
        "Socket.IO connection of %s closed: %s", carrier.request.remote_ip, type(error).__name__
    )
