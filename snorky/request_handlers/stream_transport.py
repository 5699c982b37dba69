"""A transport with asyncio's interface over a Tornado stream.

TLS in a classic Tornado program is done by Tornado's stream; the connection runs over it through
this shim, so that there is one implementation of the protocol.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tornado.iostream import IOStream, StreamClosedError

from snorky.connection import Connection

_READ_BYTES = 64 * 1024


class StreamTransport(asyncio.Transport):
    """Reads from and writes to ``stream`` for ``connection`` until one of them ends."""

    def __init__(self, stream: IOStream, connection: Connection) -> None:
        super().__init__(extra={"socket": stream.socket})
        self._stream = stream
        self._connection = connection
        self._reading = asyncio.Event()
        self._reading.set()
        self._unsent_bytes = 0
        self._closing = False
        stream.set_close_callback(self._closed)

    def start(self) -> None:
        self._connection.connection_made(self)
        self._task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        try:
            while True:
                await self._reading.wait()
                data = await self._stream.read_bytes(_READ_BYTES, partial=True)
                self._connection.data_received(data)
        except StreamClosedError:
            pass  # the close callback tells the connection

    def _closed(self) -> None:
        self._closing = True
        self._task.cancel()
        error = self._stream.error
        self._connection.connection_lost(error if isinstance(error, Exception) else None)

    def write(self, data: Any) -> None:
        if self._closing:
            return
        size = len(data)
        self._unsent_bytes += size
        try:
            written = self._stream.write(data)
        except StreamClosedError:
            return

        def done(future: asyncio.Future[None]) -> None:
            self._unsent_bytes -= size
            if not future.cancelled():
                future.exception()  # taken: a closed stream is told by the close callback

        written.add_done_callback(done)

    def get_write_buffer_size(self) -> int:
        return self._unsent_bytes

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self._reading.clear()

    def resume_reading(self) -> None:
        self._reading.set()

    def close(self) -> None:
        """Close when everything has been written."""
        if not self._closing:
            self._closing = True
            self._task.cancel()
            self._task = asyncio.ensure_future(self._close_when_written())

    async def _close_when_written(self) -> None:
        try:
            await self._stream.write(b"")
        except StreamClosedError:
            return
        self._stream.close()

    def abort(self) -> None:
        self._stream.close()
