"""Ends TLS in front of a server that speaks none, as a proxy does."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

PIECE_BYTES = 64 * 1024


class TLSRelay:
    """Whoever connects to ``port`` by TLS is connected to ``server_port`` without."""

    port: int

    def __init__(self, tls: ssl.SSLContext, server_port: int) -> None:
        self._tls = tls
        self._server_port = server_port
        self._relaying: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        self._listening = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._listening.close()
        for writer in self._relaying.values():
            writer.transport.abort()
        await asyncio.gather(*self._relaying, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relaying = asyncio.create_task(self._relay(reader, writer))
        self._relaying[relaying] = writer
        relaying.add_done_callback(self._relaying.pop)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until one of the two has ended: what it has sent still reaches the other."""
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        ways = {
            asyncio.create_task(_pass_on(reader, server_writer)),
            asyncio.create_task(_pass_on(server_reader, writer)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            server_writer.close()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
