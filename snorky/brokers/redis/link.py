"""A process's connections to the servers of one broker, opened where a key or a channel belongs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from time import monotonic
from typing import Any

from redis.asyncio.connection import Connection
from redis.exceptions import NoScriptError, RedisError, ResponseError

from snorky.brokers.connecting import fail, failed, unavailable
from snorky.brokers.log import BrokerUnavailable
from snorky.brokers.redis.addresses import Node, Servers, without_secrets
from snorky.brokers.redis.pipe import Pipe
from snorky.brokers.redis.scripts import SCRIPTS, SHA
from snorky.brokers.redis.subscriptions import Receive, Subscriptions
from snorky.log import snorky_log
from snorky.wire import decode

MAX_JOINED_BYTES = 256 * 1024
"""Messages of one channel and one turn of the loop travel together, up to so many bytes."""

NOT_STARTED = "it was not started"

Convert = Callable[[Any], Any]


class Link:
    """``seconds``: after so many a server that does not answer is away."""

    def __init__(self, servers: Servers, url: str, seconds: float) -> None:
        self.address = without_secrets(url)
        self.seconds = seconds
        self.running = False
        self._was_there = False
        self._servers = servers
        self._sharded = False
        self._must_look = True
        self._pipes: dict[Node, Pipe] = {}
        self._subscriptions: dict[Node, Subscriptions] = {}
        self._pending: dict[bytes, _Batch] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._away: dict[Any, Exception] = {}
        self._away_since = 0.0

    async def start(self, key: bytes) -> None:
        """Connect to the server that a key belongs to. Raises BrokerUnavailable."""
        self.running = True
        self._must_look = True
        try:
            await self._look_at_servers()
            await self._pipe_of(key).start()
        except (RedisError, OSError, BrokerUnavailable) as error:
            await self.stop()
            raise BrokerUnavailable(f"{self.address} cannot be reached: {error}") from error
        self._was_there = True
        for former in self._subscriptions.values():
            former.start()

    async def stop(self) -> None:
        """Send what was accepted, and disconnect. What is received is subscribed to again."""
        self._flush()
        self.running = self._was_there = False
        for task in self._tasks:
            task.cancel()
        for pipe in self._pipes.values():
            await pipe.stop()
        self._pipes.clear()
        for subscriptions in self._subscriptions.values():
            await subscriptions.stop()
        self._away.clear()

    def check(self) -> None:
        """Raises BrokerUnavailable where something that is wanted is not received."""
        if not all(each.is_complete for each in self._subscriptions.values()):
            raise BrokerUnavailable("what is received is being subscribed to again")

    # Commands

    def call(self, key: bytes, convert: Convert, *command: Any) -> asyncio.Future[Any]:
        """Send a command to the server of a key; what ``convert`` makes of the answer."""
        if not self.running:
            return failed(unavailable(NOT_STARTED))
        return converted(self._pipe_of(key).call(*command), convert)

    def run_script(
        self, script: str, keys: Sequence[bytes], arguments: Sequence[Any], convert: Convert
    ) -> asyncio.Future[Any]:
        """The same with a script, whose keys are all of one server."""
        if not self.running:
            return failed(unavailable(NOT_STARTED))
        pipe = self._pipe_of(keys[0])
        rest = (len(keys), *keys, *arguments)
        # It is loaded at each connection, but somebody may flush scripts.
        return converted(
            pipe.call("EVALSHA", SHA[script], *rest),
            convert,
            on_no_script=lambda: pipe.call("EVAL", script, *rest),
        )

    async def connect_for(self, key: bytes) -> Connection:
        """A connection of the caller's to the server of a key. Raises RedisError or OSError."""
        await self._look_at_servers()
        return await self._servers.connect(self._servers.node_of(key))

    def under_way(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Do something, also where nobody waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    # Messages

    def send(self, channel: bytes, message: bytes) -> asyncio.Future[None]:
        """Publish a message without a line break, joined with what else this turn publishes."""
        fault = self._pipe_of(channel).fault if self.running else NOT_STARTED
        if fault is not None:
            return failed(unavailable(fault))
        loop = asyncio.get_running_loop()
        batch = self._pending.get(channel)
        if batch is None:
            if not self._pending:
                loop.call_soon(self._flush)
            batch = self._pending[channel] = _Batch()
        future: asyncio.Future[None] = loop.create_future()
        batch.messages.append(message)
        batch.futures.append(future)
        batch.size += len(message)
        if batch.size > MAX_JOINED_BYTES:
            self._send(channel, self._pending.pop(channel))
        return future

    def receive(
        self, channel: bytes, receive: Receive, convert: Convert
    ) -> asyncio.Future[None] | None:
        """Let ``receive`` have what ``convert`` makes of each message of a channel."""
        if not self.running:
            return failed(unavailable(NOT_STARTED))
        return self._subscriptions_of(self._servers.node_of(channel)).add(channel, receive, convert)

    def receive_no_more(self, channel: bytes, receive: Receive) -> None:
        """Raises KeyError where it is not received."""
        for subscriptions in self._subscriptions.values():
            if subscriptions.has(channel):
                subscriptions.remove(channel, receive)
                return
        raise KeyError(channel)

    def _flush(self) -> None:
        pending, self._pending = self._pending, {}
        for channel, batch in pending.items():
            self._send(channel, batch)

    def _send(self, channel: bytes, batch: _Batch) -> None:
        command = "SPUBLISH" if self._sharded else "PUBLISH"
        sent = self._pipe_of(channel).call(command, channel, b"\n".join(batch.messages))
        sent.add_done_callback(batch.sent)

    # Connections

    def _pipe_of(self, key: bytes) -> Pipe:
        node = self._servers.node_of(key)
        pipe = self._pipes.get(node)
        if pipe is None:
            pipe = self._pipes[node] = Pipe(
                lambda: self._connect(node, scripts=True),
                self.seconds,
                lambda error: self.changed(("commands", node), error),
            )
            self.under_way(_started(pipe))
        return pipe

    def _subscriptions_of(self, node: Node) -> Subscriptions:
        subscriptions = self._subscriptions.get(node)
        if subscriptions is None:
            subscriptions = self._subscriptions[node] = Subscriptions(
                lambda: self._connect(node),
                self.seconds,
                lambda error: self.changed(("subscriptions", node), error),
                sharded=lambda: self._sharded,
            )
            subscriptions.start()
        return subscriptions

    async def _connect(self, node: Node, *, scripts: bool = False) -> Connection:
        await self._look_at_servers()
        connection = await self._servers.connect(node)
        try:
            async with asyncio.timeout(self.seconds):
                await self._prepare(connection, scripts=scripts)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _prepare(self, connection: Connection, *, scripts: bool) -> None:
        await connection.send_command("COMMAND INFO", "SSUBSCRIBE")
        try:
            answer: Any = await connection.read_response()
        except ResponseError:
            answer = [None]  # forbidden: then nothing is said of it
        self._sharded = answer[0] is not None
        for script in SCRIPTS if scripts else ():
            await connection.send_command("SCRIPT LOAD", script)
            await connection.read_response()

    async def _look_at_servers(self) -> None:
        if not self._must_look or not self._servers.is_cluster:
            return
        self._must_look = False
        try:
            await self._servers.look()
        except BaseException:
            self._must_look = True
            raise
        for node, former in tuple(self._subscriptions.items()):
            for channel in former.channels:
                owner = self._servers.node_of(channel.name)
                if owner != node:
                    former.give_up(channel)
                    self._subscriptions_of(owner).adopt(channel)

    def changed(self, what: Any, error: Exception | None) -> None:
        """A connection is there, or is not, and why. Said once, until all are back."""
        if not self._was_there:
            return  # whoever starts it is told
        if error is None:
            if self._away.pop(what, None) is not None and not self._away:
                seconds = monotonic() - self._away_since
                snorky_log.info("Broker %s is back after %.1f s", self.address, seconds)
            return
        self._must_look = True
        if not self._away:
            self._away_since = monotonic()
            snorky_log.warning(
                "Broker %s is away: %s", self.address, str(error) or type(error).__name__
            )
        self._away[what] = error


class _Batch:
    """Messages of one channel, and those who wait until they are sent."""

    __slots__ = ("futures", "messages", "size")

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.futures: list[asyncio.Future[None]] = []
        self.size = 0

    def sent(self, answer: asyncio.Future[Any]) -> None:
        error = RedisError("it was given up") if answer.cancelled() else answer.exception()
        if error is not None:
            self.failed(error if isinstance(error, BrokerUnavailable) else unavailable(error))
            return
        for future in self.futures:
            if not future.done():
                future.set_result(None)

    def failed(self, error: BrokerUnavailable) -> None:
        for future in self.futures:
            fail(future, error)


def converted(
    answer: asyncio.Future[Any],
    convert: Convert,
    on_no_script: Callable[[], asyncio.Future[Any]] | None = None,
) -> asyncio.Future[Any]:
    """What ``convert`` makes of an answer, or raises. What the server refuses is not available."""
    result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def answered(answer: asyncio.Future[Any]) -> None:
        if result.done():
            return
        try:
            value = convert(answer.result())
        except NoScriptError as error:
            if on_no_script is None:
                fail(result, unavailable(error))
            else:
                on_no_script().add_done_callback(answered)
        except RedisError as error:
            fail(result, unavailable(error))
        except Exception as error:
            fail(result, error)
        else:
            result.set_result(value)

    answer.add_done_callback(answered)
    return result


def nothing(answer: Any) -> None:
    return None


def decoded(answer: bytes | None) -> Any:
    return None if answer is None else decode(answer)


def milliseconds(seconds: float) -> int:
    """As the server counts; never 0, which it refuses."""
    return max(1, round(min(seconds, 1e9) * 1000))


async def _started(pipe: Pipe) -> None:
    await pipe.start()
