"""Channels with a past: what was said is kept for a while, for those who were away.

The channels of one service share a log of the broker's, which is their way of delivery, too. Every
process follows it, so that whoever comes to one is told what was missed without asking anybody.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from snorky.brokers import Broker, Entry, Position, PositionLost, Retention
from snorky.services.base import RPCError
from snorky.wire import encode

CATCH_UP_SECONDS = 2.0
"""How long who comes back waits for this process to have what it has seen in another one."""

MAX_READ = 1_000_000
"""Entries that are read at the start: the log's bytes see to it that there are fewer."""

NO_HISTORY = "no history"
UNKNOWN = "unknown position"
TRIMMED = "trimmed"
EPOCH = "epoch"


@dataclass(frozen=True, slots=True)
class History:
    """How much is kept of each channel; past any of these its oldest messages go.

    What somebody missed is sent at once: ``bytes`` should stay below ``Limits.max_unsent_bytes``.
    """

    entries: int = 100
    """Messages."""

    seconds: float = 300.0
    """Their age."""

    bytes: int = 256 * 1024
    """JSON of the messages. One that is larger is refused: ``Message too large``."""


class Missed(Exception):
    """What was missed cannot be told completely; the text says why."""


class Pasts:
    """The past of the channels of a service, by their keys.

    ``history_of`` says how much of a channel is kept, ``total_bytes`` bounds all of them together.
    ``came(key, before, position, message)`` is called with each message, its position and the one
    before it, ``lost(position)`` where some were lost or the log begins anew.
    """

    def __init__(
        self,
        broker: Broker,
        service: str,
        history_of: Callable[[str], History | None],
        longest: float,
        total_bytes: int,
        came: Callable[[str, Position, Position, Any], None],
        lost: Callable[[Position], None],
    ) -> None:
        self.log = broker.log(f"past:{service}", Retention(bytes=total_bytes, seconds=longest))
        self._history_of = history_of
        self._came = came
        self._lost = lost
        self._kept: dict[str, _Kept] = {}
        self._order: deque[tuple[int, str]] = deque()
        """Sequence and channel of what the log keeps, oldest first."""
        self._awaited: set[tuple[int, asyncio.Future[None]]] = set()
        self._before = self.log.head
        self.log.follow(self._entry_came, self._entries_lost)
        self.log.on_trim(self._entry_trimmed)
        self._note_all()

    async def start(self) -> None:
        """Read what is kept, and follow. The memory broker needs no start."""
        await self.log.start()
        if not self._order:
            self._note_all()
        self._before = self.log.head

    async def stop(self) -> None:
        await self.log.stop()

    def publish(self, key: str, history: History, message: Any) -> Awaitable[None] | None:
        """Append a message. Raises RPCError, and when awaited BrokerUnavailable."""
        if len(encode(message)) > history.bytes:
            raise RPCError("Message too large")
        appended = self.log.append([key, message])
        return None if isinstance(appended, Position) else _nothing(appended)

    def missed(self, key: str, since: str) -> list[Entry]:
        """What came after a position; ``since`` empty: all that is kept. Raises Missed."""
        self.log.trim()
        after = self._after(since) if since else None
        kept = self._kept.get(key)
        history = self._history_of(key)
        if kept is None or history is None:
            return []
        kept.drop_older(history.seconds)
        if after is None:
            return list(kept.entries)
        if kept.dropped > after:
            raise Missed(TRIMMED)
        return [entry for entry in kept.entries if entry.position.seq > after]

    def _after(self, since: str) -> int:
        """The sequence of a position that the log still knows. Raises Missed."""
        first = self.log.first
        try:
            position = Position.parse(since)
        except ValueError as error:
            raise Missed(UNKNOWN) from error
        try:
            self.log.read(position, 0)
        except PositionLost as error:
            trimmed = position.epoch == first.epoch and position.seq < first.seq
            raise Missed(TRIMMED if trimmed else EPOCH) from error
        return position.seq

    def ahead(self, since: str) -> Position | None:
        """The position that ``since`` is, where the log may have it, but not here yet."""
        try:
            position = Position.parse(since)
        except ValueError:
            return None
        head = self.log.head
        return position if head.epoch == position.epoch and head.seq < position.seq else None

    async def reach(self, position: Position) -> None:
        """Return when this process has it, or in a while without."""
        reached = asyncio.get_running_loop().create_future()
        waits = (position.seq, reached)
        self._awaited.add(waits)
        try:
            await asyncio.wait([reached], timeout=CATCH_UP_SECONDS)
        finally:
            self._awaited.discard(waits)

    def _entry_came(self, entry: Entry) -> None:
        key, message = entry.data
        self._note(entry, key)
        for seq, reached in tuple(self._awaited):
            if seq <= entry.position.seq and not reached.done():
                reached.set_result(None)
        before, self._before = self._before, entry.position
        self._came(key, before, entry.position, message)

    def _note_all(self) -> None:
        """What the log kept before this process came."""
        for entry in self.log.read(self.log.first, MAX_READ):
            self._note(entry, entry.data[0], max(0.0, time.time() - entry.at))

    def _note(self, entry: Entry, key: str, age: float = 0.0) -> None:
        self._order.append((entry.position.seq, key))
        history = self._history_of(key)
        if history is None:
            return  # other processes are told so; it is not read here
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept()
        kept.add(entry, age, history)

    def _entry_trimmed(self, entry: Entry) -> None:
        if not self._order or self._order[0][0] != entry.position.seq:
            return  # it was trimmed before it was noted
        _, key = self._order.popleft()
        kept = self._kept.get(key)
        if kept is None:
            return
        kept.drop_up_to(entry.position.seq)
        if not kept.entries and kept.dropped <= entry.position.seq:
            del self._kept[key]  # what was before is known by the log's first position

    def _entries_lost(self, beside: Sequence[Entry]) -> None:
        self._order.clear()
        self._kept.clear()
        self._before = self.log.head
        self._lost(self.log.head)


class _Kept:
    """What is kept of one channel."""

    __slots__ = ("_came", "bytes", "dropped", "entries")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self._came: deque[float] = deque()
        """When each was appended, by a clock that nobody sets."""
        self.bytes = 0
        self.dropped = 0
        """The sequence of the newest that is not kept any more."""

    def add(self, entry: Entry, age: float, history: History) -> None:
        self.entries.append(entry)
        self._came.append(time.monotonic() - age)
        self.bytes += len(entry.text)
        while len(self.entries) > history.entries or (
            self.bytes > history.bytes and len(self.entries) > 1
        ):
            self._drop_oldest()

    def drop_up_to(self, seq: int) -> None:
        while self.entries and self.entries[0].position.seq <= seq:
            self._drop_oldest()

    def drop_older(self, seconds: float) -> None:
        oldest = time.monotonic() - seconds
        while self._came and self._came[0] < oldest:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        oldest = self.entries.popleft()
        self._came.popleft()
        self.bytes -= len(oldest.text)
        self.dropped = oldest.position.seq


async def _nothing(appended: Awaitable[Any]) -> None:
    await appended
