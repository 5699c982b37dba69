"""Stands between a program and its server, as a network does: late, silent, or cut."""

from __future__ import annotations

import asyncio
from contextlib import suppress

PIECE_BYTES = 64 * 1024


class Relay:
    """Who connects to ``port`` of 127.0.0.1 is connected to a server: its port, or its socket.

    ``delay`` is in seconds, for each piece and each way.
    """

    def __init__(self, server: int | str) -> None:
        self.port = 0
        """Where it listens: any, or the one that was set before the start."""
        self.delay = 0.0
        self._server = server
        self._passes = asyncio.Event()
        self._passes.set()
        self._relaying: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        self._listening = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._listening.close()
        self.cut()
        for relaying in tuple(self._relaying):
            relaying.cancel()
        await asyncio.gather(*self._relaying, return_exceptions=True)

    def hold(self) -> None:
        """Pass nothing on, and tell nobody: a cable that was pulled out."""
        self._passes.clear()

    def go_on(self) -> None:
        self._passes.set()

    def cut(self) -> None:
        """End every connection there is."""
        for writer in self._relaying.values():
            writer.transport.abort()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises OSError."""
        if isinstance(self._server, int):
            return await asyncio.open_connection("127.0.0.1", self._server)
        return await asyncio.open_unix_connection(self._server)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._listening.is_serving():  # it was accepted before the end, and comes after it
            writer.close()
            return
        relaying = asyncio.create_task(self._relay(reader, writer))
        self._relaying[relaying] = writer
        relaying.add_done_callback(self._relaying.pop)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await self.connect()
        except OSError:
            writer.close()
            return
        except asyncio.CancelledError:
            writer.close()
            raise
        ways = {
            asyncio.create_task(self._pass_on(reader, server[1])),
            asyncio.create_task(self._pass_on(server[0], writer)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # First, and without waiting: who stops meanwhile cancels what waits here.
            for each in (server[1], writer):
                each.transport.abort()
                each.close()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE_BYTES):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._passes.wait()
                writer.write(piece)
                await writer.drain()
