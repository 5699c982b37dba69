"""The asyncio Protocol that carries WebSocket data: input in turns, corked output, closing.

Knows bytes, frames and one client; what a message means is its receiver's business. It runs on
any transport with asyncio's interface, TLS included.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import threading
from collections.abc import Awaitable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

from snorky import close_codes, visit
from snorky.client import Client
from snorky.hooks import HOOK_FAULTS
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.protocols.websocket_frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameParser,
    ProtocolError,
    encode_close,
    encode_frame,
)
from snorky.turn import Shared, Turn, turn_of
from snorky.wheel import PingWheel, wheel_of

HEARTBEAT_SUBPROTOCOL = "snorky"
"""Pages cannot see pings: with this subprotocol an empty text, or a space, is answered by one."""

_EMPTY_TEXT = encode_frame(TEXT, b"")
_SPACE_TEXT = encode_frame(TEXT, b" ")
_PING = encode_frame(PING, b"")

CORK_BYTES = 64 * 1024
"""Replies to one read are collected up to this size, then written."""

SECONDS_PER_TURN = 0.005
"""How long the messages of one client may hold up the others, looked at after every eighth."""


class Receiver(Protocol):
    """What a connection tells about its client. ServiceRegistry is one.

    An awaitable returned by the first two holds the client's next message back until it is done.
    """

    def client_connected(self, client: Any) -> Awaitable[None] | None: ...
    def process_message_raw(self, client: Any, text: Any) -> Awaitable[None] | None: ...
    def client_disconnected(self, client: Any) -> None: ...


class _SharedBuffer(threading.local):
    """One receive buffer for all connections of a thread.

    The loop fills it and calls ``buffer_updated`` at once, so nobody else's bytes come between.
    """

    def __init__(self) -> None:
        self.view = memoryview(bytearray(64 * 1024))


_shared_buffer = _SharedBuffer()


class Connection(asyncio.BufferedProtocol):
    """One WebSocket connection after its handshake.

    ``head`` is the 101 response, sent first. ``early``, set before the transport is there, is what
    the peer sent behind its request without waiting for the answer.
    """

    __slots__ = (
        "_events",
        "_head",
        "_heartbeats",
        "_limits",
        "_max_unsent_bytes",
        "_output_full",
        "_own_buffer",
        "_parser",
        "_ping_slot",
        "_receiver",
        "_silent_intervals",
        "_timer",
        "_unparsed",
        "_waiting",
        "_wheel",
        "audiences",
        "client",
        "close_code",
        "close_reason",
        "closing",
        "descriptor",
        "early",
        "may_wait",
        "transport",
        "turn",
    )

    client: Any
    """Who is at the other end; its ``connection`` is this one, as long as it is there."""
    transport: asyncio.Transport
    turn: Turn

    def __init__(
        self,
        client: Client,
        receiver: Receiver,
        *,
        limits: Limits,
        ping_interval: float | None,
        head: bytes = b"",
        heartbeats: bool = False,
    ) -> None:
        self.client = client
        self.audiences: set[Shared] = set()
        self.closing = False
        self.descriptor = -1
        """The socket's, for writing past the transport; negative where that must not be."""
        self.may_wait = True
        """Whether something was given to the transport since it was last found empty."""
        self.close_code: int | None = None
        self.close_reason: str = ""
        self._receiver = receiver
        self._limits = limits
        self._max_unsent_bytes = limits.max_unsent_bytes
        self._parser = FrameParser(limits.max_message_bytes)
        self._events: Iterator[tuple[int, Any]] | None = None
        self._unparsed = b""
        self._waiting = False
        self._output_full = False
        self._head = head
        self.early = b""
        self._heartbeats = heartbeats
        self._own_buffer: memoryview | None = None
        self._silent_intervals = 0
        self._ping_slot = -1
        self._wheel: PingWheel | None = None
        self._timer: asyncio.TimerHandle | None = None
        if ping_interval:
            self._wheel = wheel_of(asyncio.get_running_loop(), ping_interval)

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        loop = asyncio.get_running_loop()
        self.transport = transport  # type: ignore[assignment]  # uvloop's and ours do not inherit
        self.turn = turn_of(loop)
        self.descriptor = _descriptor_of(self.transport)
        self.transport.set_write_buffer_limits(high=self._max_unsent_bytes // 2)
        if sys.platform == "win32" and isinstance(loop, asyncio.ProactorEventLoop):
            # It keeps the buffer while other connections are served.
            self._own_buffer = memoryview(bytearray(16 * 1024))
        if self._wheel is not None:
            self._ping_slot = self._wheel.add(self)
        self.client.connection = self
        visit.comes(self.client, self._limits)
        self.transport.write(self._head)
        early, self._head, self.early = self.early, b"", b""
        opening = visit.greet(self.client, self._receiver.client_connected)
        if opening is not None:
            self._wait_for(opening)
        if early:
            self.data_received(early)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _shared_buffer.view if self._own_buffer is None else self._own_buffer

    def buffer_updated(self, nbytes: int) -> None:
        buffer = _shared_buffer.view if self._own_buffer is None else self._own_buffer
        self.data_received(buffer[:nbytes])
        if nbytes == len(buffer) and self._events is None and not self._held_back:
            # More has come already, and uvloop would read on before others get their turn.
            self._go_on_next_turn()

    def data_received(self, data: bytes | memoryview) -> None:
        self._silent_intervals = 0
        if self._events is not None or self._held_back:
            # Reading is paused; TLS may still hand over what it had decrypted.
            self._unparsed += data
            if len(self._unparsed) > self._max_unsent_bytes:
                self._abort(close_codes.ABNORMAL)
            return
        self._events = self._parser.feed(data)
        self._handle_events()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        if self._wheel is not None:
            self._wheel.remove(self, self._ping_slot)
        if self._timer is not None:
            self._timer.cancel()
        if self.close_code is None:
            self.close_code, self.close_reason = close_codes.ABNORMAL
        client, self._events, self._unparsed = self.client, None, b""
        # The client's services leave their audiences first: they know it by its connection.
        visit.goes(client, self._receiver.client_disconnected)
        for audience in tuple(self.audiences):
            audience.remove_connection(self)
        client.connection = None  # no cycle is left for the collector

    # Input

    def _handle_events(self) -> None:
        """Handle what was received, a bounded number of messages in one turn of the loop."""
        turn = self.turn
        turn.corked = self
        budget = self._limits.max_messages_per_turn
        deadline = monotonic() + SECONDS_PER_TURN
        receiver = self._receiver
        client = self.client
        events = self._events
        assert events is not None
        try:
            for kind, payload in events:
                if kind in (TEXT, BINARY):
                    if self._heartbeats and len(payload) < 2 and not payload.strip():
                        self.send_frame(_SPACE_TEXT if payload else _EMPTY_TEXT)
                    elif not self.closing:
                        metrics.messages_received += 1
                        waiting = receiver.process_message_raw(client, payload)
                        if waiting is not None:
                            self._wait_for(waiting)
                            break
                        if self._output_full:
                            break
                elif kind == PING:
                    self.ping_received(payload)
                elif kind == PONG:
                    self.pong_received(payload)
                elif kind == CLOSE:
                    self._closed_by_peer(*payload)
                budget -= 1
                if budget <= 0 or (not budget & 7 and monotonic() > deadline):
                    self._go_on_next_turn()
                    break
            else:
                self._events = None
        except ProtocolError as error:
            self._events = None
            self.close(error.code, error.reason)
        except HOOK_FAULTS:
            self._events = None
            visit.failed(self.client)
        finally:
            self.write_cork()
            turn.corked = None

    def _go_on_next_turn(self) -> None:
        self._pause()
        asyncio.get_running_loop().call_soon(self._resume)

    def _wait_for(self, waiting: Awaitable[None]) -> None:
        self._waiting = True
        self._pause()
        asyncio.ensure_future(waiting).add_done_callback(self._waited)

    def _waited(self, done: asyncio.Future[None]) -> None:
        self._waiting = False
        if not done.cancelled():
            try:
                done.result()
            except Exception:
                visit.failed(self.client)
        self._resume()

    def pause_writing(self) -> None:
        """Half of what may wait for the client does: take no more of its calls until it has read.

        So its own answers never make it a slow client; only what others send to it does.
        """
        self._output_full = True
        self._pause()

    def resume_writing(self) -> None:
        self._output_full = False
        self._silent_intervals = 0  # it reads: it is there
        # Not now: some transports call this from within write, while another client is corked.
        asyncio.get_running_loop().call_soon(self._resume)

    def _pause(self) -> None:
        with suppress(RuntimeError):  # some transports refuse to pause twice or while closing
            self.transport.pause_reading()

    def _resume(self) -> None:
        """Go on with what was received before the pause, then with new input."""
        if self._held_back:
            return
        if self._events is not None:
            self._handle_events()
        while self._unparsed and self._events is None and not self._held_back:
            data, self._unparsed = self._unparsed, b""
            self._events = self._parser.feed(data)
            self._handle_events()
        if self._events is None and not self._held_back and not self.transport.is_closing():
            with suppress(RuntimeError):
                self.transport.resume_reading()

    @property
    def _held_back(self) -> bool:
        return self._waiting or self._output_full

    def ping_received(self, data: bytes) -> None:
        self.send_frame(encode_frame(PONG, data))

    def pong_received(self, data: bytes) -> None:
        """The peer is there; that it was heard at all is noted for everything it sends."""

    # Output

    def send_frame(self, frame: bytes) -> None:
        """Send to this client alone, behind everything that its audiences were sent."""
        if self.closing:
            return
        turn = self.turn
        if turn.dirty and self.audiences:
            self._settle()
        if turn.corked is self:
            turn.cork.append(frame)
            turn.cork_bytes += len(frame)
            if turn.cork_bytes > CORK_BYTES:
                self.write_cork()
        else:
            self.write(frame)

    def send_share(self, share: bytes) -> None:
        """Send what an audience held for this client."""
        if not share or self.closing:
            return
        if self.turn.corked is self:
            self.turn.cork.append(share)
            self.turn.cork_bytes += len(share)
        else:
            self.write(share)

    def write(self, data: bytes) -> None:
        """Give bytes to the transport; a client with too much waiting already is cut off.

        Cut, not closed: a polite close would queue behind what the client does not read.
        """
        transport = self.transport
        if self.closing or transport.is_closing():
            return
        if transport.get_write_buffer_size() > self._max_unsent_bytes:
            unsent = transport.get_write_buffer_size()
            visit.is_slow(self.client.remote_address, unsent, self._max_unsent_bytes)
            self._abort(close_codes.SLOW_CLIENT)
        else:
            self.may_wait = True
            transport.write(data)

    def write_cork(self) -> None:
        """Write the replies collected while this connection's input is handled."""
        turn = self.turn
        cork = turn.cork
        if cork:
            turn.cork = []
            turn.cork_bytes = 0
            self.write(cork[0] if len(cork) == 1 else b"".join(cork))

    @property
    def unsent_bytes(self) -> int:
        corked = self.turn.cork_bytes if self.turn.corked is self else 0
        return self.transport.get_write_buffer_size() + corked

    def _settle(self) -> None:
        """Write what this client's audiences hold for it, so that its own message comes after."""
        dirty = self.turn.dirty
        if len(dirty) < len(self.audiences):
            waiting = [audience for audience in dirty if audience in self.audiences]
        else:
            waiting = [audience for audience in self.audiences if audience.is_dirty]
        for audience in waiting:
            self.send_share(audience.take_share(self))

    # Pings and closing

    def ping_or_close(self) -> None:
        """Called once per ping interval."""
        if self.closing:
            return
        if self._silent_intervals >= 2:
            visit.is_silent()
            self._abort(close_codes.SILENT_CLIENT)
            return
        if not self._waiting:  # while we do not read, the silence is ours
            self._silent_intervals += 1
        self.write(_PING)

    def ping(self, data: bytes = b"") -> None:
        """Send one ping with up to 125 bytes of data."""
        self.send_frame(encode_frame(PING, data))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye and close; nothing is sent after the close frame. Twice does nothing."""
        if self.closing:
            return
        frame = encode_close(code, reason)
        self.close_code, self.close_reason = code, reason
        self.send_frame(frame)
        if self.turn.corked is self:
            self.write_cork()
        self.closing = True
        with suppress(RuntimeError, OSError):
            if self.transport.can_write_eof():
                # Half closed: what the peer still sends is read and dropped. Closing with unread
                # input would reset the connection and might take the close frame with it.
                self.transport.write_eof()
        self._cut_after_timeout()

    def _closed_by_peer(self, code: int, reason: str) -> None:
        if not self.closing:
            self.close_code, self.close_reason = code, reason
            self.send_frame(encode_close(code, reason) if code != 1005 else encode_close(1000))
            self.write_cork()
            self.closing = True
            self._cut_after_timeout()
        self.transport.close()

    def _cut_after_timeout(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._limits.close_timeout, self.transport.abort)

    def _abort(self, why: close_codes.CloseCode) -> None:
        if not self.closing:
            self.closing = True
            self.close_code, self.close_reason = why
            self.transport.abort()


def _descriptor_of(transport: asyncio.Transport) -> int:
    """The file descriptor to which the transport writes the bytes it is given, unchanged; or -1."""
    sock = transport.get_extra_info("socket")
    encrypted = transport.get_extra_info("sslcontext") or isinstance(sock, ssl.SSLSocket)
    return -1 if sock is None or encrypted else sock.fileno()
