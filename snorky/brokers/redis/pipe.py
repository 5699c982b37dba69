"""Commands to one server over one connection: many may be under way, none waits for another.

Comes back by itself. While it is away commands are refused at once, and those under way fail:
nobody can say whether they were done.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any

from redis.asyncio.connection import Connection
from redis.exceptions import AskError, ClusterDownError, ReadOnlyError, RedisError, ResponseError

from snorky.brokers.connecting import Pause, fail, failed, first_fault, unavailable

LOST = (RedisError, OSError, EOFError)
"""What a connection that is of no use any more raises; TimeoutError is an OSError."""

MAX_UNDER_WAY = 100_000
"""Commands that wait for an answer; past it more are refused."""

MAX_UNDER_WAY_BYTES = 64 * 1024 * 1024
"""The same in bytes of what they carry."""

Command = Sequence[Any]


class Pipe:
    """``connect`` makes a connection; ``changed`` is told when it is there, or why it is not."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        seconds: float,
        changed: Callable[[Exception | None], None],
    ) -> None:
        self._connect = connect
        self._seconds = seconds
        self._changed = changed
        self._connection: Connection | None = None
        self._queue: list[tuple[Command, int, asyncio.Future[Any]]] = []
        self._under_way: deque[tuple[float, int, asyncio.Future[Any]]] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._fault: Exception = RedisError("it was not connected yet")
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect. Raises BrokerUnavailable where the first attempt fails; others follow."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        await self._tried.wait()
        if self._connection is None:
            raise unavailable(self._fault)

    async def stop(self) -> None:
        """Send what was accepted, wait for the answers, and disconnect."""
        if self._task is None:
            return
        waiting = [future for _, _, future in (*self._under_way, *self._queue)]
        if waiting and self._connection is not None:
            await asyncio.wait(waiting, timeout=self._seconds)
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None

    @property
    def fault(self) -> Exception | None:
        """Why nothing can be sent, if so. The first attempt to connect is waited for."""
        return self._fault if self._connection is None and self._tried.is_set() else None

    def call(self, *command: Any) -> asyncio.Future[Any]:
        """Send a command; its answer, or the ResponseError, is the future's.

        It raises BrokerUnavailable where it cannot be sent, or where no answer comes.
        """
        if self.fault is not None:
            return failed(unavailable(self.fault))
        if len(self._under_way) + len(self._queue) >= MAX_UNDER_WAY:
            return failed(unavailable(f"{MAX_UNDER_WAY} commands are under way already"))
        size = sum([len(part) for part in command if isinstance(part, bytes)])
        if self._bytes and self._bytes + size > MAX_UNDER_WAY_BYTES:
            return failed(unavailable(f"{MAX_UNDER_WAY_BYTES} bytes are under way already"))
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._bytes += size
        self._queue.append((command, size, future))
        self._wake.set()
        return future

    async def _run(self) -> None:
        pause = Pause()
        while True:
            try:
                connection = await self._connect()
            except LOST as error:
                self._lose(error)
                self._changed(error)
                await pause.wait()
                continue
            begun = monotonic()
            await self._use(connection)
            if monotonic() - begun > self._seconds:
                pause.reset()
            await pause.wait()

    async def _use(self, connection: Connection) -> None:
        self._connection = connection
        self._changed(None)
        self._tried.set()
        works = self._write(connection), self._read(connection), self._watch()
        error: Exception = RedisError("it was stopped")
        try:
            error = await first_fault(works, LOST)
            self._changed(error)
        finally:
            self._connection = None
            await connection.disconnect(nowait=True)
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        self._fault = error
        waiting = [future for _, _, future in (*self._under_way, *self._queue)]
        self._under_way.clear()
        self._queue.clear()
        self._bytes = 0
        self._wake.clear()
        for future in waiting:
            fail(future, unavailable(error))
        self._tried.set()

    async def _write(self, connection: Connection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            queue, self._queue = self._queue, []
            now = monotonic()
            self._under_way.extend([(now, size, future) for _, size, future in queue])
            packed = connection.pack_commands([command for command, _, _ in queue])
            await connection.send_packed_command(packed, check_health=False)

    def _next(self) -> asyncio.Future[Any]:
        _, size, future = self._under_way.popleft()
        self._bytes -= size
        return future

    async def _read(self, connection: Connection) -> None:
        while True:
            try:
                answer = await connection.read_response(disconnect_on_error=False)
            except ResponseError as error:
                future = self._next()
                if isinstance(error, (ReadOnlyError, AskError, ClusterDownError)):
                    fail(future, unavailable(error))
                    raise  # another server is the master now
                fail(future, error)
            else:
                future = self._next()
                if not future.done():
                    future.set_result(answer)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / 4)
            if self._under_way and self._under_way[0][0] < monotonic() - self._seconds:
                raise TimeoutError(f"no answer for {self._seconds:g} s")
