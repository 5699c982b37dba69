"""Engine.IO on Tornado: sessions over long polling and WebSocket, each with a bounded outbox.

python-engineio knows the protocol and runs the sessions. This is its driver for what ``carrier``
carries, and what it leaves open: what waits for a peer, upgrades, and the ends of connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import engineio  # type: ignore[import-untyped]
from engineio.exceptions import QueueEmpty  # type: ignore[import-untyped]
from engineio.packet import CLOSE, OPEN, UPGRADE, Packet  # type: ignore[import-untyped]
from tornado.httputil import HTTPServerRequest

from snorky import visit
from snorky.limits import Limits
from snorky.log import snorky_log
from snorky.metrics import metrics
from snorky.protocols.websocket_frames import BINARY, TEXT, encode_frame
from snorky.request_handlers.socketio.ending import keep_tasks_at_exit
from snorky.request_handlers.socketio.engine_session import EngineSession
from snorky.request_handlers.socketio.outbox import Outbox

_PACKET_TYPES = frozenset("0123456b")
"""What the text of a packet begins with; ``b`` is for bytes in base64."""


class Carrier(Protocol):
    """One request or one WebSocket, as the engine needs it."""

    limits: Limits
    request: HTTPServerRequest
    is_websocket: bool
    received: asyncio.Queue[str | bytes | None]
    has_room: asyncio.Event
    ws_connection: Any

    def join(self, session: Any) -> None: ...
    def respond(
        self, status: int, body: bytes, headers: Sequence[tuple[str, str]] = ()
    ) -> None: ...
    def close(self, code: int | None = None, reason: str | None = None) -> None: ...


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
            keep_tasks_at_exit()
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
                visit.is_silent()  # python-engineio has waited for long enough
            raise
        if message is None:
            raise OSError("the peer has gone")
        if isinstance(message, str) and not self._is_expected(message[:1]):
            fault = OSError("expected a packet")
            log_fault(self._carrier, fault)
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
            await connection.stream.write(encode_frame(opcode, payload))
        except (KeyboardInterrupt, SystemExit) as stop:
            # python-engineio would take it for a peer that has gone, and the program would go on.
            asyncio.get_running_loop().call_soon(_raise, stop)
            raise OSError("the program is being stopped") from stop
        self._session.queue.sent(len(payload))

    async def close(self) -> None:
        self._carrier.close()


def log_fault(carrier: Carrier, error: Exception) -> None:
    metrics.messages_refused += 1
    snorky_log.info(
        "Socket.IO connection of %s closed: %s", carrier.request.remote_ip, type(error).__name__
    )
