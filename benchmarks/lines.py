"""A TCP connection of the load generator in Python: HTTP/1.1, or WebSocket after its handshake.

Knows bytes, not what they mean. It reads what the servers here write, and calls anything else a
fault. ``load/`` is faster, and knows WebSocket alone; what this one costs is not in any figure.
"""

import asyncio
import re
from collections.abc import Callable
from typing import cast

from harness import BenchmarkError

Take = Callable[[bytes], None]

SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SAMPLE_ANSWER = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""Of RFC 6455, section 1.3: no SHA-1 needed here."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
_NO_MASK = b"\0\0\0\0"
"""Text that is masked with it stays as it is; servers unmask it like any other."""


class Line(asyncio.Protocol):
    """``fail`` is told the first fault. One request at a time."""

    def __init__(self, fail: Callable[[str], None]) -> None:
        self._fail = fail
        self._received = bytearray()
        self._read = self._read_head
        self._take: Take | None = None
        self._body = bytearray()
        self._done: asyncio.Future[bytes] | None = None
        self._ping: Callable[[], None] = lambda: None
        self._transport: asyncio.Transport
        self._closed = False

    @classmethod
    async def open(cls, port: int, fail: Callable[[str], None]) -> "Line":
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(lambda: cls(fail), "127.0.0.1", port)
        return line

    async def request(
        self, method: str, path: str, body: bytes = b"", *, take: Take | None = None
    ) -> bytes:
        """Returns when the answer has ended: its body, unless ``take`` was given that in pieces."""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        if method == "POST":
            head += f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        self._take = take
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(head.encode() + b"\r\n" + body)
        return await self._done

    async def upgrade(self, path: str, take: Take, ping: Callable[[], None]) -> None:
        """Become a WebSocket: ``take`` gets every text, ``ping`` is told of pings."""
        self._take, self._ping = take, ping
        self._done = asyncio.get_running_loop().create_future()
        head = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {SAMPLE_KEY}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n"
        )
        self._transport.write(head.encode())
        await self._done

    def send(self, text: bytes, opcode: int = 1) -> None:
        """Send a WebSocket frame."""
        size = len(text)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2)
        self._transport.write(bytes([0x80 | opcode]) + length + _NO_MASK + text)

    def close(self) -> None:
        self._closed = True
        self._transport.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            while self._received and self._read():
                pass
        except BenchmarkError as error:
            self._fail(str(error))
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closed:
            self._fail(f"the server dropped a connection: {error or 'end of stream'}")

    # Each takes something whole from what was received; False where it has not come yet

    def _take_bytes(self, size: int) -> bytes:
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def _read_head(self) -> bool:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._take_bytes(end + 4)
        status = head[9:12]
        if status == b"101" and SAMPLE_ANSWER in head:
            self._read = self._read_frame
            self._end(b"")
        elif not head.startswith(b"HTTP/1.1 2") or self._done is None:
            start = (head + self._received[:200]).decode("latin-1")
            raise BenchmarkError(f"expected a success, got {start!r}")
        elif _CHUNKED.search(head):
            self._read = self._read_chunk
        elif length := _LENGTH.search(head):
            self._size = int(length[1])
            self._read = self._read_body
            if not self._size:
                self._end_body()
        elif status == b"204":
            self._end_body()
        else:
            raise BenchmarkError(f"expected a body of known length, got {head!r}")
        return True

    def _read_body(self) -> bool:
        if len(self._received) < self._size:
            return False
        self._take_piece(self._take_bytes(self._size))
        self._end_body()
        return True

    def _read_chunk(self) -> bool:
        end = self._received.find(b"\r\n")
        if end < 0:
            return False
        size = int(self._received[:end], 16)
        if len(self._received) < end + 2 + size + 2:
            return False
        piece = self._take_bytes(end + 2 + size + 2)[end + 2 : -2]
        if size:
            self._take_piece(piece)
        else:
            self._end_body()
        return True

    def _take_piece(self, piece: bytes) -> None:
        if self._take is None:
            self._body += piece
        else:
            self._take(piece)

    def _end_body(self) -> None:
        body = bytes(self._body)
        self._body.clear()
        self._read = self._read_head
        self._end(body)

    def _end(self, result: bytes) -> None:
        done, self._done = self._done, None
        if done is not None and not done.done():
            done.set_result(result)

    def _read_frame(self) -> bool:
        received = self._received
        if len(received) < 2:
            return False
        start, size = 2, received[1]
        if size == 126:
            start, size = 4, int.from_bytes(received[2:4])
        elif size > 126:
            raise BenchmarkError(f"expected an unmasked frame below 64 KiB, got {received[:2]!r}")
        if len(received) < start + size:
            return False
        opcode = received[0]
        payload = self._take_bytes(start + size)[start:]
        if opcode == 0x81:
            self._take_piece(payload)
        elif opcode == 0x89:
            self.send(payload, 0xA)
            self._ping()
        else:
            raise BenchmarkError(f"expected a whole text or a ping, got {opcode:#x} {payload!r}")
        return True
