"""A transport with asyncio's interface over a Tornado stream.

TLS in a classic Tornado program is done by Tornado's stream; the connection runs over it through
this shim, so that there is one implementation of the protocol.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

from tornado.iostream import IOStream, StreamClosedError

from snorky.connection import Connection
from snorky.request_handlers.tornado_internals import bytes_unwritten

_PIECE_BYTES = 64 * 1024
"""What is read and written at once: TLS takes a write whole or not at all, so that a long message
in one piece would count as unsent until its last byte has left."""


class StreamTransport(asyncio.Transport):
    """Reads from and writes to ``stream`` for a connection until one of them ends."""

    def __init__(self, stream: IOStream) -> None:
        super().__init__(extra={"socket": stream.socket})
        self._stream = stream
        self._reading = asyncio.Event()
        self._reading.set()
        self._closing = False
        self._connection: Connection | None = None
        self._high_water = 0
        self._output_full = False

    def start(self, connection: Connection) -> None:
        # Its end is told also while reading is paused.
        self._connection = connection
        self._stream.set_close_callback(self._reading.set)
        self._task = asyncio.ensure_future(self._run(connection))
        connection.connection_made(self)

    async def _run(self, connection: Connection) -> None:
        try:
            while True:
                await self._reading.wait()
                data = await self._stream.read_bytes(_PIECE_BYTES, partial=True)
                if not self._closing:
                    connection.data_received(data)
                # The stream returns what has come already without waiting: others wait meanwhile.
                await asyncio.sleep(0)
        except OSError:  # StreamClosedError, or what the read itself met; the stream is closed
            pass
        self._closing = True
        self._connection = None  # no cycle is left for the collector
        error = self._stream.error
        connection.connection_lost(error if isinstance(error, Exception) else None)

    def write(self, data: Any) -> None:
        with suppress(StreamClosedError):  # the reader is told
            for start in range(0, len(data), _PIECE_BYTES):
                written = self._stream.write(memoryview(data)[start : start + _PIECE_BYTES])
            if not self._output_full and self.get_write_buffer_size() > self._high_water:
                self._output_full = True
                if self._connection is not None:
                    self._connection.pause_writing()
            if self._output_full:
                written.add_done_callback(self._drained)

    def _drained(self, written: asyncio.Future[None]) -> None:
        low_water = self._high_water // 4
        if self._output_full and self.get_write_buffer_size() <= low_water:
            self._output_full = False
            if self._connection is not None:
                self._connection.resume_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high_water = high or 0

    def get_write_buffer_size(self) -> int:
        # The stream only tells when a write is done. It has no buffer once it is closed.
        return bytes_unwritten(self._stream)

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Say behind everything else that nothing more comes; what still comes is read."""
        with suppress(StreamClosedError):
            written = self._stream.write(b"")
            written.add_done_callback(lambda _: self._close_half())

    def _close_half(self) -> None:
        sock = self._stream.socket
        if sock is None:
            return
        # Below TLS, and not by its goodbye: Tornado takes what comes behind that for an error. The
        # close frame has told the peer that this is the end.
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_WR)

    def pause_reading(self) -> None:
        # Once it is closed there is nothing to pause, and its end has to be told.
        if not (self._closing or self._stream.closed()):
            self._reading.clear()

    def resume_reading(self) -> None:
        self._reading.set()

    def close(self) -> None:
        """Close when everything has been written. What still comes is read and dropped."""
        self._closing = True
        self._reading.set()
        with suppress(StreamClosedError):
            written = self._stream.write(b"")
            written.add_done_callback(lambda _: self._stream.close())

    def abort(self) -> None:
        self._closing = True
        self._stream.close()
