"""Pings for many connections from one timer.

A wheel of slots turns once per interval; each connection sits in one slot and is looked at
when its slot comes round, so twenty thousand connections cost one timer, not twenty thousand.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import Protocol

SLOTS = 32


class Pinged(Protocol):
    def ping_or_close(self) -> None: ...


class PingWheel:
    """Calls ``ping_or_close`` of each of its connections once per ``interval`` seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interval: float) -> None:
        self.interval = interval
        self._loop = weakref.ref(loop)
        self._slots: list[set[Pinged]] = [set() for _ in range(SLOTS)]
        self._now = 0
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Pinged) -> int:
        """Take a connection in; its first ping comes one interval from now.

        Returns the slot, to be given to ``remove``.
        """
        slot = self._now
        self._slots[slot].add(connection)
        self._size += 1
        if self._timer is None:
            self._schedule()
        return slot

    def remove(self, connection: Pinged, slot: int) -> None:
        self._slots[slot].discard(connection)
        self._size -= 1
        if self._size == 0 and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        loop = self._loop()
        if loop is not None:
            self._timer = loop.call_later(self.interval / SLOTS, self._turn)

    def _turn(self) -> None:
        self._schedule()
        self._now = (self._now + 1) % SLOTS
        for connection in tuple(self._slots[self._now]):
            connection.ping_or_close()


_wheels: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[float, PingWheel]] = (
    weakref.WeakKeyDictionary()
)


def wheel_of(loop: asyncio.AbstractEventLoop, interval: float) -> PingWheel:
    """The wheel of ``loop`` for ``interval`` seconds, shared by all its connections."""
    wheels = _wheels.setdefault(loop, {})
    wheel = wheels.get(interval)
    if wheel is None:
        wheel = wheels[interval] = PingWheel(loop, interval)
    return wheel
