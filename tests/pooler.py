"""A pooler in transaction mode, as PgBouncer is: whose transaction has ended, its session goes on
to another."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress

Session = tuple[asyncio.StreamReader, asyncio.StreamWriter]

ENCRYPTED = {80877103, 80877104}
"""What a client begins with that asks for TLS, or for GSSAPI."""


class Pooler:
    def __init__(self, server: str) -> None:
        self._server = server
        self._idle: list[Session] = []
        self._opened: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._listening = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._opened:
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._opened.append(writer)
        with suppress(asyncio.IncompleteReadError, OSError):
            startup = await read_startup(reader, writer)
            session, greeting = await self._connect(startup)
            writer.write(greeting)
            self._idle.append(session)
            while True:
                message = await read_message(reader)
                session = self._idle.pop() if self._idle else (await self._connect(startup))[0]
                await self._transaction(message, reader, writer, session)
                self._idle.append(session)
        writer.transport.abort()

    async def _transaction(
        self,
        message: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        session: Session,
    ) -> None:
        while True:
            session[1].write(message)
            if message[:1] in (b"Q", b"S"):  # the server answers now
                while (answer := await read_message(session[0]))[:1] != b"Z":
                    writer.write(answer)
                writer.write(answer)
                if answer[5:6] == b"I":
                    return
            message = await read_message(reader)

    async def _connect(self, startup: bytes) -> tuple[Session, bytes]:
        session = await asyncio.open_unix_connection(self._server)
        self._opened.append(session[1])
        session[1].write(startup)
        greeting = message = await read_message(session[0])
        while message[:1] != b"Z":
            message = await read_message(session[0])
            greeting += message
        return session, greeting


async def read_startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    while True:
        head = await reader.readexactly(8)
        size, code = struct.unpack("!II", head)
        if code not in ENCRYPTED:
            return head + await reader.readexactly(size - 8)
        writer.write(b"N")


async def read_message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)
