"""Processes joined by Redis (6.2 or newer) or Valkey: ``pip install "snorky[redis]"``.

Topics are its publish/subscribe, sharded where the server knows that; logs are streams; what
processes share are keys. One connection carries commands, one what is received, one each log; in a
cluster that is for each node.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from typing import Any

from snorky.brokers import Broker, BrokerUnavailable, Deliver, Log, Retention
from snorky.brokers.redis.addresses import servers_of, take_query
from snorky.brokers.redis.link import Link, decoded, milliseconds, nothing
from snorky.brokers.redis.log import RedisLog
from snorky.envelope import Envelope
from snorky.wire import encode

__all__ = ["RedisBroker"]


class RedisBroker(Broker):
    """``url`` says where:

    - ``redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]``, ``rediss://`` with TLS, ``unix:///PATH``;
    - ``redis+sentinel://HOST[:PORT],HOST[:PORT].../MASTER[/DATABASE]``: the master that these
      sentinels name; ``sentinel_username`` and ``sentinel_password`` in the query are for them;
    - ``redis+cluster://HOST[:PORT],HOST[:PORT]...``: a cluster, by some of its nodes.

    Those two take ``rediss`` too. The query may hold options of redis-py, as ``ssl_ca_certs``, and
    ``prefix``: who uses the same server under another prefix is another Snorky. ``timeout``:
    seconds after which a server that does not answer is away.
    """

    def __init__(self, url: str, *, prefix: str = "snorky", timeout: float = 5.0) -> None:
        url, named = take_query(url, "prefix")
        self._prefix = named or prefix
        self._link = Link(servers_of(url, timeout), url, timeout)
        self._logs: dict[str, RedisLog] = {}
        self._own_channel = self._name("check", secrets.token_hex(8))
        self._checks: dict[bytes, asyncio.Future[None]] = {}

    def __repr__(self) -> str:
        return f"RedisBroker({self._link.address!r})"

    # Topics

    def publish(self, topic: str, payload: Envelope) -> Awaitable[None]:
        return self._link.send(self._name("t", topic), payload.text)

    def subscribe(self, topic: str, deliver: Deliver) -> Awaitable[None] | None:
        return self._link.receive(self._name("t", topic), deliver, Envelope.received)

    def unsubscribe(self, topic: str, deliver: Deliver) -> None:
        self._link.receive_no_more(self._name("t", topic), deliver)

    # What processes share

    def claim(self, key: str, ttl: float) -> Awaitable[bool]:
        lifetime = milliseconds(ttl)
        return self._call(key, bool, "SET", b"true", "NX", "PX", lifetime)

    def put(self, key: str, value: Any, ttl: float) -> Awaitable[None]:
        return self._call(key, nothing, "SET", encode(value), "PX", milliseconds(ttl))

    def get(self, key: str) -> Awaitable[Any]:
        return self._call(key, decoded, "GET")

    def delete(self, key: str) -> Awaitable[None]:
        return self._call(key, nothing, "DEL")

    def log(self, name: str, retention: Retention | None = None) -> Log:
        log = self._logs.get(name)
        if log is None:
            keys = f"{self._prefix}:log:"
            log = self._logs[name] = RedisLog(self._link, keys, name, retention or Retention())
        return log

    def _call(self, key: str, convert: Any, command: str, *arguments: Any) -> Awaitable[Any]:
        name = self._name("v", key)
        return self._link.call(name, convert, command, name, *arguments)

    def _name(self, kind: str, name: str) -> bytes:
        return f"{self._prefix}:{kind}:{name}".encode("utf-8", "surrogatepass")

    # Its own life

    async def start(self) -> None:
        await self._link.start(self._own_channel)
        try:
            subscribed = self._link.receive(self._own_channel, self._came_back, bytes)
            if subscribed is not None:
                await subscribed
        except BrokerUnavailable:
            await self._link.stop()
            raise

    async def stop(self) -> None:
        for log in self._logs.values():
            await log.stop()
        if self._link.running:
            self._link.receive_no_more(self._own_channel, self._came_back)
            await self._link.stop()

    async def check(self) -> None:
        nonce = secrets.token_hex(8).encode()
        arrived = self._checks[nonce] = asyncio.get_running_loop().create_future()
        seconds = self._link.seconds
        try:
            async with asyncio.timeout(seconds):
                await self._link.send(self._own_channel, nonce)
                await arrived
        except TimeoutError as error:
            raise BrokerUnavailable(f"a message did not come back within {seconds:g} s") from error
        finally:
            del self._checks[nonce]
        self._link.check()

    def _came_back(self, nonce: bytes) -> None:
        arrived = self._checks.get(nonce)
        if arrived is not None and not arrived.done():
            arrived.set_result(None)
