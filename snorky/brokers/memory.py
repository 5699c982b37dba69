"""The embedded default: one process, everything done in the call itself.

``publish`` delivers before it returns, so documented programs need no set-up and an answer comes
after what its command published.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from snorky.brokers import Broker, Deliver
from snorky.brokers.log import (
    KEYS_PER_SOURCE,
    MAX_KEPT_BESIDE,
    UNCHANGED,
    Append,
    Entry,
    EntryTooLarge,
    FenceOld,
    Lease,
    LeaseHeld,
    Position,
    Retention,
    Unchanged,
)
from snorky.brokers.window import Window
from snorky.envelope import Envelope
from snorky.wire import encode

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

    def __repr__(self) -> str:
        return "MemoryBroker()"

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


class MemoryLog(Window):
    """A log in this process. Its epoch is new at every start."""

    def __init__(self, retention: Retention, clock: Callable[[], float]) -> None:
        super().__init__(Position(secrets.token_hex(8), 0, ""), retention, clock)
        self._sources: defaultdict[str | None, _Source] = defaultdict(_Source)
        self._beside: deque[tuple[float, Entry]] = deque()

    @property
    def lag(self) -> float:
        return 0.0

    async def start(self) -> None:
        """Nothing to read."""

    async def stop(self) -> None:
        """Nothing to leave."""

    def append(
        self,
        data: Any,
        key: str | None = None,
        source: str | None = None,
        fence: str | None = None,
        *,
        keep: float = 0.0,
    ) -> Position:
        (position,) = self._append([Append(data, key)], source, fence, keep=keep)
        return position

    def append_step(
        self, entries: Sequence[Append], source: str, fence: str | None, place: Any = UNCHANGED
    ) -> list[Position]:
        return self._append(entries, source, fence, place)

    def kept_beside(self) -> Sequence[Entry]:
        now, beside = self._clock(), self._beside
        while beside and beside[0][0] <= now:
            beside.popleft()
        return [entry for ends, entry in beside if ends > now]

    def take_lease(self, source: str, seconds: float, fence: str | None = None) -> Lease:
        of = self._sources[source]
        now = self._clock()
        if of.lease_ends > now and (fence is None or of.fence != fence):
            raise LeaseHeld(source)
        of.fence, of.lease_seconds, of.lease_ends = secrets.token_hex(12), seconds, now + seconds
        return Lease(of.fence, of.place)

    def renew_lease(self, source: str, fence: str) -> None:
        self._fenced(source, fence).renew(self._clock())

    def leases(self) -> Mapping[str, float]:
        now = self._clock()
        return {
            source: of.lease_ends - now
            for source, of in self._sources.items()
            if source is not None and of.lease_ends > now
        }

    def ask(self, source: str) -> int:
        of = self._sources[source]
        of.asked += 1
        waiting, of.waiting = of.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        return of.asked

    def asked(self, source: str, more_than: int, timeout: float) -> int | Awaitable[int]:
        of = self._sources[source]
        return of.asked if of.asked > more_than else self._wait(of, timeout)

    async def _wait(self, of: _Source, timeout: float) -> int:  # noqa: ASYNC109
        future = asyncio.get_running_loop().create_future()
        of.waiting.append(future)
        try:
            async with asyncio.timeout(timeout):
                await future
        except TimeoutError:
            pass
        finally:
            if future in of.waiting:
                of.waiting.remove(future)
        return of.asked

    def _fenced(self, source: str | None, fence: str | None) -> _Source:
        if fence is not None and source not in self._sources:
            raise FenceOld(source)
        of = self._sources[source]
        if of.fence != fence:
            raise FenceOld(source)
        return of

    def _append(
        self,
        entries: Sequence[Append],
        source: str | None,
        fence: str | None,
        place: Any = UNCHANGED,
        keep: float = 0.0,
    ) -> list[Position]:
        now = self._clock()
        of = self._fenced(source, fence)
        texts = [encode(entry.data) for entry in entries]  # before anything is changed
        most = self._retention.entry_bytes
        if most is not None and any(len(text) > most for text in texts):
            raise EntryTooLarge(f"expected entries of at most {most} bytes")
        if keep and len(self._beside) >= MAX_KEPT_BESIDE:
            self.kept_beside()
            if len(self._beside) >= MAX_KEPT_BESIDE:
                raise OverflowError(f"{MAX_KEPT_BESIDE} entries are kept beside the log already")
        of.renew(now)
        if not isinstance(place, Unchanged):
            of.place = place
        positions = []
        for entry, text in zip(entries, texts, strict=True):
            position = None if entry.key is None else of.positions_by_key.get(entry.key)
            if position is None:
                position = Position(self.head.epoch, self.head.seq + 1, secrets.token_hex(4))
                of.remember(entry.key, position)
                appended = Entry(position, text, time.time(), entry.data)
                if keep:
                    self._beside.append((now + keep, appended))
                self.push(appended)
            positions.append(position)
        return positions


class _Source:
    """What a log knows of one source."""

    def __init__(self) -> None:
        self.fence: str | None = None
        self.place: Any = None
        self.lease_seconds = 0.0
        self.lease_ends = -math.inf
        self.asked = 0
        self.waiting: list[asyncio.Future[None]] = []
        self.positions_by_key: dict[str, Position] = {}
        self._newest_keys: deque[str | None] = deque()

    def renew(self, now: float) -> None:
        if self.fence is not None:
            self.lease_ends = now + self.lease_seconds

    def remember(self, key: str | None, position: Position) -> None:
        """The key of an entry that is appended; entries without one push older keys out, too."""
        self._newest_keys.append(key)
        if key is not None:
            self.positions_by_key[key] = position
        if len(self._newest_keys) > KEYS_PER_SOURCE:
            oldest = self._newest_keys.popleft()
            if oldest is not None:
                del self.positions_by_key[oldest]
