"""The newest entries of a log, as one process keeps them: dense, in order, bounded.

An engine's log pushes what it appended or received; whoever reads does so here.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from snorky.brokers.log import Entry, Log, Position, PositionLost, Retention

GONE_AT_ONCE = 1000
"""Places of entries that have gone, which a queue gives back together."""

Deliver = Callable[[Entry], None]
Lost = Callable[[Sequence[Entry]], None]


class Window(Log):
    """The reading half of every log. ``clock`` gives seconds, for the age of entries."""

    def __init__(
        self, head: Position, retention: Retention, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._retention = retention
        self._clock = clock
        self._kept = _Queue()
        self._bytes = 0
        self._older = self._older_bytes = 0  # entries, and bytes, of the older half
        self._head = self._first = head
        self._followers: list[tuple[Deliver, Lost | None]] = []
        self._trimmed: list[Deliver] = []

    @property
    def head(self) -> Position:
        return self._head

    def newest(self) -> Position | Awaitable[Position]:
        return self._head

    @property
    def first(self) -> Position:
        return self._first

    @property
    def bytes_kept(self) -> int:
        return self._bytes

    def push(self, entry: Entry) -> None:
        """Take the next entry and deliver it. The caller sees to it that it is the next."""
        assert entry.position.seq == self._head.seq + 1, (entry.position, self._head)
        size = len(entry.text)
        self._kept.append(_Kept(entry, self._clock(), size))
        self._bytes += size
        self._head = entry.position
        for deliver, _ in tuple(self._followers):
            deliver(entry)
        entry.forget_data()
        self.trim()

    def fill(self, first: Position, entries: Sequence[Entry], head: Position) -> None:
        """Take what an engine had kept before this process came; nobody is told.

        ``first`` is the position before the first of ``entries``, ``head`` that of the last.
        """
        now, wall = self._clock(), time.time()
        self._first, self._head = first, head
        for entry in entries:
            self._kept.append(_Kept(entry, now - max(0.0, wall - entry.at), len(entry.text)))
            self._bytes += len(entry.text)
        self.trim()

    def restart(self, head: Position, beside: Sequence[Entry] = ()) -> None:
        """Begin anew at a head that does not continue what was: tell everybody that it is lost.

        ``beside`` is what is kept beside the log by then.
        """
        while self._kept:
            self._drop_oldest()
        self._head = self._first = head
        for _, lost in tuple(self._followers):
            if lost is not None:
                lost(beside)

    def read(self, after: Position, limit: int = 1000) -> Sequence[Entry]:
        self.trim()
        first, head = self._first, self._head
        skipped = after.seq - first.seq
        if after.epoch != head.epoch or skipped < 0 or after.seq > head.seq:
            raise PositionLost(f"expected a position from {first.seq} to {head.seq}, got {after}")
        known = first if skipped == 0 else self._kept[skipped - 1].entry.position
        if known.nonce != after.nonce:
            raise PositionLost(f"entry {after.seq} is another one")
        return self._kept.entries(skipped, limit)

    def follow(self, deliver: Deliver, lost: Lost | None = None) -> Callable[[], None]:
        follower = (deliver, lost)
        self._followers.append(follower)
        return lambda: self._followers.remove(follower)

    def charge(self, position: Position, count: int) -> None:
        place = position.seq - self._first.seq - 1
        if 0 <= place < len(self._kept):
            self._kept[place].size += count
            self._bytes += count
            if place < self._older:
                self._older_bytes += count
            self.trim()

    def on_trim(self, trimmed: Deliver) -> None:
        self._trimmed.append(trimmed)

    def trim(self) -> None:
        kept, retention = self._kept, self._retention
        while kept and (
            self._bytes > retention.bytes
            or kept[0].at < self._clock() - retention.seconds
            or (retention.entries is not None and len(kept) > retention.entries)
        ):
            self._drop_oldest()

    @property
    def halfway(self) -> int:
        kept, older = self._kept, self._clock() - self._retention.seconds / 2
        half = self._retention.bytes / 2
        while self._older < len(kept) and (
            kept[self._older].at < older or self._bytes - self._older_bytes > half
        ):
            self._older_bytes += kept[self._older].size
            self._older += 1
        return self._first.seq + self._older

    def _drop_oldest(self) -> None:
        kept = self._kept.pop_oldest()
        self._bytes -= kept.size
        if self._older:
            self._older -= 1
            self._older_bytes -= kept.size
        self._first = kept.entry.position
        for trimmed in self._trimmed:
            trimmed(kept.entry)


class _Kept:
    __slots__ = ("at", "entry", "size")

    def __init__(self, entry: Entry, at: float, size: int) -> None:
        self.entry = entry
        self.at = at
        self.size = size


class _Queue:
    """What comes first goes first. Any place in it is reached at once: whoever comes back reads
    from somewhere in the middle, where a deque is walked to."""

    __slots__ = ("_gone", "_list")

    def __init__(self) -> None:
        self._list: list[_Kept | None] = []
        self._gone = 0

    def __len__(self) -> int:
        return len(self._list) - self._gone

    def __getitem__(self, place: int) -> _Kept:
        kept = self._list[self._gone + place]
        assert kept is not None
        return kept

    def entries(self, place: int, limit: int) -> list[Entry]:
        first = self._gone + place
        return [kept.entry for kept in self._list[first : first + limit] if kept is not None]

    def append(self, kept: _Kept) -> None:
        self._list.append(kept)

    def pop_oldest(self) -> _Kept:
        kept = self[0]
        self._list[self._gone] = None
        self._gone += 1
        if self._gone >= GONE_AT_ONCE and self._gone * 2 >= len(self._list):
            del self._list[: self._gone]
            self._gone = 0
        return kept
