"""The embedded default: one process, everything done in the call itself.

``publish`` delivers before it returns, so documented programs need no set-up and an answer comes
after what its command published.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from snorky.brokers import Broker, Deliver, Entry, Log, Position, PositionLost, Retention
from snorky.wire import Envelope, encode

SWEEP_EVERY = 1000
"""Writes of keys after which those that expired are thrown away."""


class MemoryBroker(Broker):
    """Everything in this process; gone when it ends. ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._subscriptions: dict[str, list[Deliver]] = {}
        self._logs: dict[str, MemoryLog] = {}
        self._values: dict[str, tuple[float, Any]] = {}
        self._writes = 0

    def publish(self, topic: str, payload: Envelope) -> None:
        for deliver in tuple(self._subscriptions.get(topic, ())):
            deliver(payload)

    def subscribe(self, topic: str, deliver: Deliver) -> None:
        self._subscriptions.setdefault(topic, []).append(deliver)

    def unsubscribe(self, topic: str, deliver: Deliver) -> None:
        delivers = self._subscriptions.get(topic, [])
        if deliver not in delivers:
            raise KeyError(topic)
        delivers.remove(deliver)
        if not delivers:
            del self._subscriptions[topic]

    def log(self, name: str, retention: Retention | None = None) -> MemoryLog:
        log = self._logs.get(name)
        if log is None:
            log = self._logs[name] = MemoryLog(retention or Retention(), self._clock)
        return log

    def claim(self, key: str, ttl: float) -> bool:
        if self.get(key) is not None:
            return False
        self.put(key, True, ttl)
        return True

    def put(self, key: str, value: Any, ttl: float) -> None:
        self._values[key] = (self._clock() + ttl, value)
        self._writes += 1
        if self._writes >= SWEEP_EVERY:
            self._writes = 0
            now = self._clock()
            self._values = {k: kept for k, kept in self._values.items() if kept[0] > now}

    def get(self, key: str) -> Any:
        expires, value = self._values.get(key, (0.0, None))
        if expires <= self._clock():
            self._values.pop(key, None)
            return None
        return value

    def delete(self, key: str) -> None:
        self._values.pop(key, None)

    async def start(self) -> None:
        """Nothing to connect."""

    async def stop(self) -> None:
        """Nothing to disconnect."""

    async def check(self) -> None:
        """Always there."""


class MemoryLog(Log):
    """A log in this process. Its epoch is new at every start."""

    def __init__(self, retention: Retention, clock: Callable[[], float]) -> None:
        self._retention = retention
        self._clock = clock
        self._kept: deque[tuple[Entry, float, int, str | None]] = deque()
        self._bytes = 0
        self._positions_by_key: dict[str, Position] = {}
        self._followers: list[Callable[[Entry], None]] = []
        self._head = Position(secrets.token_hex(8), 0, "")

    @property
    def head(self) -> Position:
        return self._head

    def append(self, data: Any, key: str | None = None) -> Position:
        now = self._clock()
        self._trim(now)
        if key is not None and key in self._positions_by_key:
            return self._positions_by_key[key]
        size = len(encode(data))
        position = Position(self._head.epoch, self._head.seq + 1, secrets.token_hex(4))
        entry = Entry(position, data)
        self._kept.append((entry, now, size, key))
        self._bytes += size
        self._head = position
        if key is not None:
            self._positions_by_key[key] = position
        self._trim(now)
        for deliver in tuple(self._followers):
            deliver(entry)
        return position

    def read(self, after: Position, limit: int = 1000) -> Sequence[Entry]:
        self._trim(self._clock())
        oldest = self._head.seq - len(self._kept) + 1
        skipped = after.seq + 1 - oldest
        if after.epoch != self._head.epoch or skipped < 0 or after.seq > self._head.seq:
            raise PositionLost(f"expected a position from {oldest - 1} on, got {after.seq}")
        if skipped > 0 and self._kept[skipped - 1][0].position.nonce != after.nonce:
            raise PositionLost(f"entry {after.seq} is another one")
        return [entry for entry, *_ in islice(self._kept, skipped, skipped + limit)]

    def follow(self, deliver: Callable[[Entry], None]) -> Callable[[], None]:
        self._followers.append(deliver)
        return lambda: self._followers.remove(deliver)

    def _trim(self, now: float) -> None:
        kept, retention = self._kept, self._retention
        while kept and (
            len(kept) > retention.entries
            or self._bytes > retention.bytes
            or kept[0][1] < now - retention.seconds
        ):
            _, _, size, key = kept.popleft()
            self._bytes -= size
            if key is not None:
                del self._positions_by_key[key]
