"""Socket.IO over the sessions of the engine: who connects to which namespace, and their events.

python-socketio knows the packets; what a peer is told, and what it is told of, is the business of
the ``Peer`` that is made for each connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import socketio
from engineio.packet import MESSAGE  # type: ignore[import-untyped]
from engineio.packet import Packet as EnginePacket
from socketio import exceptions
from socketio.packet import (
    ACK,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    Packet,
)
from tornado.httputil import HTTPServerRequest
from tornado.web import Application

from snorky import visit
from snorky.client import Client, log_about
from snorky.identity import Handshake, Refused
from snorky.limits import Limits
from snorky.log import printable, snorky_log
from snorky.metrics import metrics
from snorky.request_handlers.socketio.engine import Engine
from snorky.request_handlers.socketio.outbox import byte_length
from snorky.wire import decode, encode

_ATTACHMENT_BYTES = 64
"""What keeping an attachment costs beside its own bytes; many may be empty."""


class EngineLog(logging.LoggerAdapter[logging.Logger]):
    """Where python-engineio and python-socketio log: their unexpected exceptions pass.

    The rest would be a line for every packet, with what is in it, and errors that any peer causes.
    """

    def __init__(self) -> None:
        super().__init__(snorky_log)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if kwargs.get("exc_info"):
            super().log(level, msg, *args, **kwargs)

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        return f"Socket.IO: {msg}", kwargs


@dataclass(frozen=True, slots=True)
class SocketIOHandshake(Handshake):
    """What a peer says when it connects to a namespace."""

    auth: Any = None
    """What the page gave as ``auth``; None where it gave nothing."""
    namespace: str = "/"
    """The part of the application that it connects to."""


class Peer(Protocol):
    """One connection to one namespace, at our side. Called in this order."""

    async def admit(self, handshake: SocketIOHandshake) -> None:
        """Raises Refused, and nothing else, where the peer may not connect; that is its end."""

    def opened(self) -> None:
        """The peer is told that it is connected. Not called if it has left meanwhile."""

    async def event(self, name: str, arguments: list[Any], ack_id: int | None) -> None:
        """The peer emitted; its next event waits until this returns."""

    def left(self) -> None:
        """The connection has ended, whoever ended it."""


class _JSON:
    """JSON as everywhere in Snorky, under the names that python-socketio calls."""

    @staticmethod
    def dumps(value: Any, **options: Any) -> str:
        return encode(value).decode()

    loads = staticmethod(decode)


class _Packet(Packet):  # type: ignore[misc]
    json = _JSON

    @classmethod
    def reconstruct_binary(cls, data: Any, attachments: Sequence[bytes]) -> Any:
        """Put each attachment in its place; raises ValueError where one is to have two.

        Clients never say that, and a short message could become a very long one.
        """
        return super().reconstruct_binary(data, _Attachments(attachments))


class _Attachments:
    def __init__(self, attachments: Sequence[bytes]) -> None:
        self._left: list[bytes | None] = list(attachments)

    def __getitem__(self, number: int) -> bytes:
        attachment, self._left[number] = self._left[number], None
        if attachment is None:
            raise ValueError("expected each attachment once")
        return attachment


def packets_of(kind: int, namespace: str, data: Any, packet_id: int | None = None) -> list[Any]:
    """One message as the engine's packets: text, then the attachments where ``data`` has bytes.

    Raises TypeError or ValueError where ``data`` cannot be encoded.
    """
    parts = [_Packet(kind, data=data, namespace=namespace, id=packet_id, binary=False).encode()]
    if _holds_bytes(data):
        with suppress(RecursionError):  # so deep down they stay base64, as for other clients
            parts = _Packet(kind, data=data, namespace=namespace, id=packet_id).encode()
    return [EnginePacket(MESSAGE, part) for part in parts]


def _holds_bytes(data: Any) -> bool:
    """Without recursion, and so whatever its depth. ``data`` does not contain itself."""
    left = [data]
    while left:
        item = left.pop()
        if isinstance(item, bytes | bytearray):
            return True
        if isinstance(item, dict):
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
    return False


class Line:
    """The way to one peer in one namespace."""

    def __init__(
        self, server: SocketIOCore, session: Any, namespace: str, origin: Origin, sid: str
    ) -> None:
        self.namespace = namespace
        self.sid = sid
        self.origin = origin
        self.ended = False
        self.opened = False
        self._server = server
        self._session = session
        self._early: list[Any] = []
        self._early_bytes = 0

    @property
    def unsent_bytes(self) -> int:
        return int(self._session.queue.unsent_bytes) + self._early_bytes

    @property
    def transport(self) -> str:
        """How the peer is reached now: ``polling`` or ``websocket``."""
        return "websocket" if self._session.upgraded else "polling"

    def emit(self, name: str, *arguments: Any) -> None:
        self.send(packets_of(EVENT, self.namespace, [name, *arguments]))

    def acknowledge(self, ack_id: int, *arguments: Any) -> None:
        self.send(packets_of(ACK, self.namespace, list(arguments), ack_id))

    def send(self, packets: Sequence[Any]) -> None:
        """Send one message. Nothing is sent once the connection has ended.

        A peer with too much waiting already is cut off.
        """
        if self.ended:
            return
        unsent = self.unsent_bytes
        limits = self._server.limits
        if unsent > limits.max_unsent_bytes:
            address = self.origin.handshake.remote_address
            visit.is_slow(address, unsent, limits.max_unsent_bytes)
            self.cut()
            return
        metrics.messages_sent += 1
        for packet in packets:
            data = packet.data
            # What is shared is text. Bytes are encoded otherwise for polling and for WebSocket,
            # and python-engineio keeps the encoded packet.
            copy = packet if isinstance(data, str) else EnginePacket(MESSAGE, data)
            if self.opened:
                self._session.queue.put_nowait(copy)
            else:
                self._early.append(copy)
                self._early_bytes += byte_length(data) if isinstance(data, str) else len(data)

    def open(self) -> None:
        """The peer is told that it is connected: what was sent before that follows."""
        self.opened = True
        early, self._early, self._early_bytes = self._early, [], 0
        for packet in early:
            self._session.queue.put_nowait(packet)

    def close(self, *, come_back: bool = False) -> None:
        """End the connection behind what was sent; clients of Socket.IO come back if they may."""
        if self.ended:
            return
        self.ended = True
        if come_back:
            self._server.start(self._server.eio.close_session(self._session))
            return
        if self.opened:
            for packet in packets_of(DISCONNECT, self.namespace, None):
                self._session.queue.put_nowait(packet)
            self._server.start(self._server.leave(self._session.sid, self.namespace))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` in a task that is kept until it is done."""
        self._server.start(work)

    def cut(self) -> None:
        """End the connection at once."""
        if not self.ended:
            self.ended = True
            self._session.queue.cut()
            self._server.start(self._server.eio.close_session(self._session))


@dataclass(frozen=True, slots=True)
class Origin:
    """The request that opened a session."""

    handshake: Handshake
    request: HTTPServerRequest
    application: Application


class SocketIOCore(socketio.AsyncServer):  # type: ignore[misc]
    """python-socketio's server: one ``Peer`` for each connection to a namespace."""

    def __init__(
        self,
        peers: Mapping[str, Callable[[Line], Peer]],
        limits: Limits,
        *,
        ping_interval: float = 25,
        ping_timeout: float = 20,
    ) -> None:
        log = EngineLog()
        super().__init__(
            async_handlers=False,
            serializer=_Packet,
            namespaces=list(peers),
            logger=log,
            engineio_logger=log,
            cors_allowed_origins=[],  # the carrier's business
            http_compression=False,
            max_http_buffer_size=limits.max_message_bytes,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
        )
        self.limits = limits
        self.eio.limits = limits
        self._make_peer = peers
        self._peers: dict[str, tuple[Line, Peer]] = {}
        self._binary_bytes: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def leave(self, eio_sid: str, namespace: str) -> None:
        """The connection to a namespace has ended."""
        await self._handle_disconnect(eio_sid, namespace, self.reason.SERVER_DISCONNECT)

    # Sessions

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        carrier = environ["snorky.carrier"]
        origin = Origin(carrier.handshake, carrier.request, carrier.application)
        await super()._handle_eio_connect(eio_sid, {"snorky.origin": origin})
        self._expect_use(eio_sid)

    async def _handle_disconnect(
        self, eio_sid: str, namespace: str | None, reason: str | None = None
    ) -> None:
        await super()._handle_disconnect(eio_sid, namespace, reason)
        self._expect_use(eio_sid)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        await super()._handle_eio_disconnect(eio_sid, reason)
        self._binary_packet.pop(eio_sid, None)
        self._binary_bytes.pop(eio_sid, None)
        if reason == self.reason.PING_TIMEOUT:
            visit.is_silent()
        session = self.eio.sockets.get(eio_sid)
        if session is not None:
            self.eio.part_with(session, self.limits.close_timeout)

    def _expect_use(self, eio_sid: str) -> None:
        """A session that is connected to nothing ends after a while."""
        session = self.eio.sockets.get(eio_sid)
        if session is not None and not session.closing:
            loop = asyncio.get_running_loop()
            loop.call_later(self.limits.handshake_timeout, self._close_unused, eio_sid)

    def _close_unused(self, eio_sid: str) -> None:
        session = self.eio.sockets.get(eio_sid)
        in_use = any(self.manager.sid_from_eio_sid(eio_sid, name) for name in self.namespaces)
        if session is not None and not in_use:
            metrics.handshakes_timed_out += 1
            self.start(self.eio.close_session(session))

    # Packets

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        session = self.eio.sockets.get(eio_sid)
        if session is None:
            return
        # Its own answers must not make it a slow client: no more of its calls until it has read.
        await session.queue.wait_until_below(self.limits.max_unsent_bytes // 2)
        if session.queue.ended:
            return
        try:
            self._bound_attachments(eio_sid, data)
            await super()._handle_eio_message(eio_sid, data)
        except Exception as error:  # what is no packet ends in an exception of any kind
            metrics.messages_refused += 1
            origin = self.environ.get(eio_sid, {}).get("snorky.origin")
            snorky_log.info(
                "Socket.IO connection of %s closed: %s in a packet",
                printable(origin and origin.handshake.remote_address),
                type(error).__name__,
            )
            await self.eio.close_session(session)

    def _bound_attachments(self, eio_sid: str, data: Any) -> None:
        """A message with its attachments is one message: it has the limit of one."""
        if eio_sid not in self._binary_packet:
            self._binary_bytes[eio_sid] = 0
        elif not isinstance(data, bytes):
            raise ValueError("expected an attachment, got text")
        size = byte_length(data) if isinstance(data, str) else len(data or b"")
        self._binary_bytes[eio_sid] += size + _ATTACHMENT_BYTES
        if self._binary_bytes[eio_sid] > self.limits.max_message_bytes + _ATTACHMENT_BYTES:
            raise ValueError("message too long")

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        namespace = namespace or "/"
        session = self.eio.sockets[eio_sid]
        if namespace not in self._make_peer:
            for packet in packets_of(CONNECT_ERROR, namespace, {"message": "Invalid namespace"}):
                session.queue.put_nowait(packet)
            return
        if self.manager.sid_from_eio_sid(eio_sid, namespace) is not None:
            return  # clients send it twice where the page calls connect() meanwhile
        await super()._handle_connect(eio_sid, namespace, data)
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        if sid is None:
            self._expect_use(eio_sid)
            return
        line, peer = self._peers[sid]
        if session.closed or session.closing:  # it left while it was being admitted
            self._peers.pop(sid)
            line.ended = True
            await self.manager.disconnect(sid, namespace, ignore_queue=True)
            peer.left()
            return
        line.open()
        peer.opened()

    async def _trigger_event(self, event: str, namespace: str, *args: Any) -> Any:
        """``connect`` and ``disconnect``; a peer's own events never come here."""
        sid = args[0]
        if event == "connect":
            origin: Origin = args[1]["snorky.origin"]
            eio_sid = self.manager.eio_sid_from_sid(sid, namespace)
            line = Line(self, self.eio.sockets[eio_sid], namespace, origin, sid)
            peer = self._make_peer[namespace](line)
            base = origin.handshake
            handshake = SocketIOHandshake(
                path=base.path,
                headers=base.headers,
                arguments=base.arguments,
                cookies=base.cookies,
                remote_address=base.remote_address,
                secure=base.secure,
                auth=args[2],
                namespace=namespace,
            )
            try:
                await peer.admit(handshake)
            except Refused as refused:
                metrics.clients_refused += 1
                raise exceptions.ConnectionRefusedError(
                    refused.reason, {"status": refused.status}
                ) from refused
            self._peers[sid] = line, peer
        elif event == "disconnect" and sid in self._peers:
            line, peer = self._peers.pop(sid)
            line.ended = True
            peer.left()
        return None

    async def _handle_event(
        self, eio_sid: str, namespace: str | None, packet_id: int | None, data: Any
    ) -> None:
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace or "/")
        if not isinstance(data, list) or not data or not isinstance(data[0], str):
            raise ValueError("expected an event")
        if sid not in self._peers:
            return  # not connected, or not any more
        line, peer = self._peers[sid]
        if not line.ended:
            metrics.messages_received += 1
            await peer.event(data[0], data[1:], packet_id)


def log_failure(client: Client, text: str, error: BaseException) -> None:
    """Log an exception of the application's, about one client."""
    metrics.rpc_exceptions += 1
    log_about(client, text, level=logging.ERROR, exc_info=error)
