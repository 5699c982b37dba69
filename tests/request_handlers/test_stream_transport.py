"""The transport over Tornado's streams, where its connection pauses it at an unlucky moment."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from tornado.iostream import IOStream

from snorky.request_handlers.stream_transport import StreamTransport
from tests.patience import patient


class CutAndPaused:
    """A connection that is cut while it handles what came, and then pauses reading."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.abort()
        # The stream tells its end in the next turn, and we pause behind that.
        asyncio.get_running_loop().call_soon(self.transport.pause_reading)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


async def test_the_end_is_told_also_where_reading_is_paused_after_it() -> None:
    ours, theirs = socket.socketpair()
    connection: Any = CutAndPaused()
    StreamTransport(IOStream(ours)).start(connection)
    theirs.send(b"hello")
    async with asyncio.timeout(patient(20)):
        await connection.lost.wait()
    theirs.close()
