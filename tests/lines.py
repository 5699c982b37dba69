"""Lines between a connection and its peer, and peers that do exactly what a test tells them.

Two lines carry raw bytes: one in memory that says what was written when, and a real socket.
``Peer`` is a WebSocket client on a socket: it answers nothing by itself.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from websockets.frames import Frame, Opcode

from snorky.connected_client import ConnectedClient
from snorky.connection import Connection
from snorky.limits import DEFAULT_LIMITS, Limits
from tests.patience import patient

DEADLINE = patient(10.0)

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
"""The head of a handshake, without the empty line that ends it."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing the socket resets the connection."""


async def turns(number: int = 10) -> None:
    """Let the loop turn."""
    for _ in range(number):
        await asyncio.sleep(0)


async def until(true: Callable[[], object]) -> None:
    """Wait for something that no event tells. Raises TimeoutError after the deadline."""
    async with asyncio.timeout(DEADLINE):
        while not true():
            await asyncio.sleep(0.001)


def masked(opcode: Opcode, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame as clients send it."""
    return Frame(opcode, payload, fin).serialize(mask=True)


def take_frames(received: bytearray) -> list[tuple[int, bytes]]:
    """Take the whole frames that a server sent from the beginning of ``received``."""
    frames = []
    position = 0
    while len(received) >= position + 2:
        opcode, length = received[position] & 0x0F, received[position + 1]
        start = position + 2
        if length >= 126:
            start += 2 if length == 126 else 8
            length = int.from_bytes(received[position + 2 : start])
        if len(received) < start + length:
            break
        position = start + length
        frames.append((opcode, bytes(received[start:position])))
    del received[:position]
    return frames


class MemoryLine(asyncio.Transport):
    """A transport whose peer reads only when it is told to, and that peer.

    ``insistent`` lines do what TLS does: a piece that was decrypted already is handed over although
    reading is paused.
    """

    def __init__(self, connection: Connection, *, insistent: bool = False) -> None:
        super().__init__()
        self._connection = connection
        self._insistent = insistent
        self._pieces_left = 1
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._incoming = bytearray()
        self.eof = False
        self._closing = False
        self.reading = True
        self.lost = False
        self.writes: list[bytes] = []
        self.cut_at = 0
        """Bytes in the buffer when the connection aborted."""
        self.received = bytearray()
        self._high_water = 0
        self._output_full = False

    # The connection's side

    def write(self, data: Any) -> None:
        assert not self.eof, "written after the end of the output"
        assert not self._closing, "written to a transport that has failed"
        self.writes.append(bytes(data))
        self._buffer += data
        if len(self._buffer) > self._high_water and not self._output_full:
            self._output_full = True
            self._connection.pause_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high_water = high or 0

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self._pieces_left = 1
        self._loop.call_soon(self._read)

    def close(self) -> None:
        self._closing = True
        self._end_when_written()

    def abort(self) -> None:
        self.cut_at = len(self._buffer)
        self.lose()

    def _end_when_written(self) -> None:
        if self._closing and not self._buffer and not self.lost:
            self.lost = True
            self._loop.call_soon(self._connection.connection_lost, None)

    def _read(self) -> None:
        while self._incoming and not self._closing:
            if not self.reading:
                if not self._insistent or not self._pieces_left:
                    return
                self._pieces_left -= 1
            buffer = self._connection.get_buffer(-1)
            size = min(len(buffer), len(self._incoming), 100)
            buffer[:size] = self._incoming[:size]
            del self._incoming[:size]
            self._connection.buffer_updated(size)

    # The peer's side

    def feed(self, data: bytes) -> None:
        """Send ``data``; it arrives in small pieces, in the next turn of the loop."""
        self._incoming += data
        self._loop.call_soon(self._read)

    def drain(self, size: int) -> None:
        """Read up to ``size`` bytes."""
        self.received += self._buffer[:size]
        del self._buffer[:size]
        if self._output_full and len(self._buffer) <= self._high_water // 4 and not self.lost:
            self._output_full = False
            self._connection.resume_writing()
        self._end_when_written()

    def lose(self) -> None:
        """Break the line."""
        self._buffer.clear()
        self._closing = True
        self._end_when_written()


class Recorder:
    """A receiver that keeps what a connection tells, and answers a message as the test likes."""

    def __init__(self, answer: Callable[[Any, Any], Awaitable[None] | None] | None = None) -> None:
        self._answer = answer
        self.messages: list[Any] = []
        self.left: list[Any] = []

    def client_connected(self, client: Any) -> Awaitable[None] | None:
        return None

    def process_message_raw(self, client: Any, text: Any) -> Awaitable[None] | None:
        self.messages.append(text)
        return None if self._answer is None else self._answer(client, text)

    def client_disconnected(self, client: Any) -> None:
        self.left.append(client)


def connect_in_memory(
    receiver: Any = None,
    *,
    limits: Limits = DEFAULT_LIMITS,
    insistent: bool = False,
    **options: Any,
) -> tuple[ConnectedClient, MemoryLine]:
    """A client whose connection runs over a line in memory. ``options`` are Connection's."""
    options.setdefault("ping_interval", None)
    client = ConnectedClient("memory")
    connection = Connection(client, receiver or Recorder(), limits=limits, **options)
    line = MemoryLine(connection, insistent=insistent)
    connection.connection_made(line)
    line.writes.clear()  # the head
    return client, line


class SocketLine:
    """The peer's end of a real socket, with the same methods."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._outgoing = bytearray()
        self.lost = False
        self.received = bytearray()

    def feed(self, data: bytes) -> None:
        self._outgoing += data
        with suppress(OSError):  # full, or closed by the server
            if not self.lost:
                del self._outgoing[: self._socket.send(self._outgoing)]

    def drain(self, size: int) -> None:
        self.feed(b"")
        with suppress(OSError):
            if not self.lost:
                self.received += self._socket.recv(size)

    def lose(self) -> None:
        if not self.lost:
            self.lost = True
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._socket.close()


class Peer:
    """A WebSocket client that reads, answers and leaves only when it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(
        cls, port: int, *, headers: bytes = b"", behind: bytes = b"", **options: Any
    ) -> Peer:
        """``behind`` is sent together with the request; ``options`` are open_connection's."""
        peer = cls(*await asyncio.open_connection("127.0.0.1", port, **options))
        peer.send(HANDSHAKE + headers + b"\r\n" + behind)
        async with asyncio.timeout(DEADLINE):
            head = await peer._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return peer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def send_text(self, text: str) -> None:
        self.send(masked(Opcode.TEXT, text.encode()))

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload."""
        async with asyncio.timeout(DEADLINE):
            received = bytearray(await self._reader.readexactly(2))
            length = received[1]
            if length >= 126:
                received += await self._reader.readexactly(2 if length == 126 else 8)
                length = int.from_bytes(received[2:])
            return received[0] & 0x0F, await self._reader.readexactly(length)

    async def text(self) -> str:
        opcode, payload = await self.frame()
        assert opcode == Opcode.TEXT, (opcode, payload)
        return payload.decode()

    async def close_frame(self) -> tuple[int, str]:
        """The next frame, which is a close frame: code and reason."""
        opcode, payload = await self.frame()
        assert opcode == Opcode.CLOSE, (opcode, payload)
        return int.from_bytes(payload[:2]), payload[2:].decode()

    async def end(self) -> bytes:
        """What still comes before the server ends the connection, politely or not."""
        rest = bytearray()
        async with asyncio.timeout(DEADLINE):
            with suppress(ConnectionError):
                while data := await self._reader.read(1 << 16):
                    rest += data
        return bytes(rest)

    def send_unencrypted(self, data: bytes) -> None:
        os.write(self._socket().fileno(), data)

    def reset(self) -> None:
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._writer.transport.abort()

    async def leave(self) -> None:
        """Close the socket without a word. Whoever has gone may leave again."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    def _socket(self) -> socket.socket:
        sock: socket.socket = self._writer.get_extra_info("socket")
        return sock
