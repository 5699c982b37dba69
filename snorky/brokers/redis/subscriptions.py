"""What a process receives: one subscription at the server for each channel that is wanted here.

Comes back by itself and subscribes again. What was published meanwhile is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from redis.asyncio.connection import Connection
from redis.exceptions import RedisError

from snorky.brokers.connecting import Pause, deliver, fail, first_fault, unavailable
from snorky.brokers.redis.pipe import LOST

Receive = Callable[[Any], None]

CHANNELS_PER_WRITE = 500


class Channel:
    """One channel and those who receive it. They do so once the server has said yes."""

    __slots__ = ("active", "convert", "name", "receivers", "waiting")

    def __init__(self, name: bytes, convert: Callable[[bytes], Any]) -> None:
        self.name = name
        self.convert = convert
        self.active = False
        self.receivers: list[Receive] = []
        self.waiting: list[asyncio.Future[None]] = []

    def receive(self, joined: bytes) -> None:
        for text in joined.split(b"\n"):
            deliver(self.receivers, text, self.convert, self.name)


class Subscriptions:
    """The channels of one server. ``sharded`` says which commands it is spoken to with."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        seconds: float,
        changed: Callable[[Exception | None], None],
        *,
        sharded: Callable[[], bool],
    ) -> None:
        self._connect = connect
        self._seconds = seconds
        self._changed = changed
        self._sharded = sharded
        self._channels: dict[bytes, Channel] = {}
        self._connection: Connection | None = None
        self._commands: list[tuple[bytes, Channel | None]] = []
        self._answers: deque[Channel | None] = deque()
        self._wake = asyncio.Event()
        self._heard = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def channels(self) -> list[Channel]:
        return list(self._channels.values())

    @property
    def is_complete(self) -> bool:
        """Whether everything that is wanted is received."""
        return all(channel.active for channel in self._channels.values())

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def has(self, name: bytes) -> bool:
        return name in self._channels

    def add(
        self, name: bytes, receive: Receive, convert: Callable[[bytes], Any]
    ) -> asyncio.Future[None] | None:
        """Receive a channel. The future raises BrokerUnavailable: then nothing was added."""
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(name, convert)
            self._say(b"SUBSCRIBE", channel)
        channel.receivers.append(receive)
        if channel.active:
            return None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        channel.waiting.append(future)
        timer = loop.call_later(self._seconds, self._give_up, channel, future, receive)
        future.add_done_callback(lambda _: timer.cancel())
        return future

    def remove(self, name: bytes, receive: Receive) -> None:
        """Raises KeyError where it is not received."""
        channel = self._channels.get(name)
        if channel is None or receive not in channel.receivers:
            raise KeyError(name)
        channel.receivers.remove(receive)
        if not channel.receivers:
            del self._channels[name]
            self._say(b"UNSUBSCRIBE", channel)

    def give_up(self, channel: Channel) -> None:
        """Leave a channel to the subscriptions of another server."""
        del self._channels[channel.name]
        channel.active = False
        self._say(b"UNSUBSCRIBE", channel)

    def adopt(self, channel: Channel) -> None:
        """Take a channel over from those of another server."""
        self._channels[channel.name] = channel
        self._say(b"SUBSCRIBE", channel)

    def _give_up(self, channel: Channel, future: asyncio.Future[None], receive: Receive) -> None:
        if not future.done():
            channel.waiting.remove(future)
            if receive in channel.receivers:
                channel.receivers.remove(receive)
            if not channel.receivers and self._channels.get(channel.name) is channel:
                del self._channels[channel.name]
                self._say(b"UNSUBSCRIBE", channel)
            fail(future, unavailable(TimeoutError(f"no answer for {self._seconds:g} s")))

    def _say(self, command: bytes, channel: Channel | None) -> None:
        if self._connection is not None:
            self._commands.append((command, channel))
            self._wake.set()

    # The connection

    async def _run(self) -> None:
        pause = Pause()
        while True:
            try:
                connection = await self._connect()
            except LOST as error:
                self._changed(error)
                await pause.wait()
                continue
            begun = monotonic()
            fault = await self._use(connection)
            if monotonic() - begun > self._seconds:
                pause.reset()
            self._changed(fault)
            await pause.wait()

    async def _use(self, connection: Connection) -> Exception:
        self._connection = connection
        self._heard = monotonic()
        self._answers.clear()
        self._commands = [(b"SUBSCRIBE", channel) for channel in self._channels.values()]
        self._wake.set()
        self._changed(None)
        works = self._write(connection), self._read(connection), self._watch()
        try:
            return await first_fault(works, LOST)
        finally:
            self._connection = None
            for channel in self._channels.values():
                channel.active = False
            await connection.disconnect(nowait=True)

    async def _write(self, connection: Connection) -> None:
        prefix = b"S" if self._sharded() else b""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._commands:
                commands = self._commands[:CHANNELS_PER_WRITE]
                del self._commands[:CHANNELS_PER_WRITE]
                self._answers.extend(channel for _, channel in commands)
                packed = connection.pack_commands(
                    [
                        (command,) if channel is None else (prefix + command, channel.name)
                        for command, channel in commands
                    ]
                )
                await connection.send_packed_command(packed, check_health=False)

    async def _read(self, connection: Connection) -> None:
        channels = self._channels
        while True:
            message: Any = await connection.read_response(disconnect_on_error=False)
            self._heard = monotonic()
            # Where no channel is left a ping is answered as to any other connection.
            kind, name = (b"pong", b"") if message == b"PONG" else (message[0], message[1])
            if kind in (b"message", b"smessage"):
                channel = channels.get(name)
                if channel is not None and channel.active:
                    channel.receive(message[2])
            else:
                self._answered(kind, name)

    def _answered(self, kind: bytes, name: bytes) -> None:
        channel = self._answers.popleft() if self._answers else None
        if (b"" if channel is None else channel.name) != name:
            raise RedisError(f"unexpected {kind.decode()}")  # the channel has moved away
        if channel is None or kind not in (b"subscribe", b"ssubscribe"):
            return
        if self._channels.get(name) is channel:
            channel.active = True
        waiting, channel.waiting = channel.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def _watch(self) -> None:
        """Say something now and then: a connection that has died silently is noticed."""
        while True:
            await asyncio.sleep(self._seconds / 2)
            if self._heard < monotonic() - 2 * self._seconds:
                raise TimeoutError(f"nothing heard for {2 * self._seconds:g} s")
            self._say(b"PING", None)
