"""What is told without an entry: pages to fetch again, positions and tokens to be renewed.

All of it goes on the line, behind the entries that came before.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Collection, Iterator
from itertools import count
from math import ceil
from time import monotonic, time
from typing import Any

from snorky.envelope import Envelope
from snorky.services.datasync.items import Item
from snorky.services.datasync.log import ChangeLog, send
from snorky.services.datasync.pages import FEW_PAGES, Opened, Pages, by_page

SECONDS_BETWEEN_STALE = 1.0
"""Seconds between two frames that tell a subscription to fetch again."""

SECONDS_OF_SPREAD = 2.0
"""Seconds over which those who share a touched item are told."""

SECONDS_PER_HOLDER = 0.002


class StaleTelling:
    """Tells those who hold a touched item: at most one a second, the last touch within three."""

    def __init__(self, changes: ChangeLog, pages: Pages, call_later: CallLater) -> None:
        self._changes = changes
        self._pages = pages
        self._call_later = call_later
        self._due: list[tuple[float, int, Opened]] = []
        self._numbers = count()
        self._wakes_at: float | None = None

    def touched(self, items: Collection[Item]) -> None:
        now = monotonic()
        holders = {each: None for item in items for each in item.holders or ()}
        spread = 0.0
        if len(holders) > FEW_PAGES:
            spread = min(SECONDS_OF_SPREAD, len(holders) * SECONDS_PER_HOLDER)
        for each in holders:
            if each.stale_due is None:
                wait = random.random() * spread if spread else 0.0  # noqa: S311  # no secret
                each.stale_due = max(now + wait, each.stale_sent + SECONDS_BETWEEN_STALE)
                heapq.heappush(self._due, (each.stale_due, next(self._numbers), each))
        self._work()

    def _work(self) -> None:
        now = monotonic()
        due = []
        while self._due and self._due[0][0] <= now:
            each = heapq.heappop(self._due)[2]
            each.stale_due, each.stale_sent = None, now
            due.append(each)
        if due:
            self._changes.line.do(self._tell(due))
        if self._due and (self._wakes_at is None or self._due[0][0] < self._wakes_at):
            self._wakes_at = self._due[0][0]
            self._call_later(max(0.0, self._wakes_at - now), self._woken)

    def _woken(self) -> None:
        self._wakes_at = None
        self._work()

    def _tell(self, due: list[Opened]) -> Iterator[None]:
        # The position at which it is sent: a fetch that begins after it sees all up to here.
        position = str(self._changes.processed)
        yield from self._pages.tell(due, {"type": "stale", "position": position})


CallLater = Callable[[float, Callable[[], None]], None]


class Renewals:
    """Sees to it that positions and tokens of open pages do not grow too old."""

    def __init__(
        self,
        changes: ChangeLog,
        pages: Pages,
        renew: Callable[[Opened], str],
        resume_ttl: float,
    ) -> None:
        self._changes = changes
        self._pages = pages
        self._renew = renew
        self._resume_ttl = resume_ttl
        # Those that are due within the same moment share a slot, which comes at its end.
        self._moment = min(1.0, resume_ttl / 32)
        self._slots: dict[int, list[Opened]] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many it waits for, some of which may have ended."""
        return self._count

    def add(self, opened: Opened, made: float) -> None:
        """``made``: when its token was, in seconds since 1970."""
        due = ceil(min(made + self._resume_ttl / 2, opened.recheck) / self._moment)
        slot = self._slots.get(due)
        if slot is None:
            slot = self._slots[due] = []
        slot.append(opened)
        self._count += 1
        if self._count > 2 * len(self._pages.by_origin) + 1000:
            self._forget_ended()

    def _forget_ended(self) -> None:
        for slot, waiting in tuple(self._slots.items()):
            waiting[:] = [each for each in waiting if each.page is not None]
            if not waiting:
                del self._slots[slot]
        self._count = sum(map(len, self._slots.values()))

    def look(self) -> None:
        """Called now and then."""
        now = time()
        come = [slot for slot in self._slots if slot * self._moment <= now]
        due = [each for slot in sorted(come) for each in self._slots.pop(slot)]
        self._count -= len(due)
        expired = [each for each in due if each.page is not None and each.recheck <= now]
        renewed = [each for each in due if each.page is not None and each.recheck > now]
        if expired:
            self._changes.line.do(self._pages.end_all(expired, "expired"))
        if renewed:
            self._changes.line.do(self._renew_tokens(renewed))
        halfway = self._changes.log.halfway
        if any(crowd.last_seq < halfway for crowd in self._pages.crowds):
            self._changes.line.do(self._mark())

    def _renew_tokens(self, renewed: list[Opened]) -> Iterator[None]:
        position = str(self._changes.processed)
        for page, those in by_page(renewed).items():
            tokens: dict[str, Any] = {}
            for opened in those:
                tokens[str(opened.id)] = self._renew(opened)
                self.add(opened, time())
            self._pages.send(page, {"type": "mark", "position": position, "tokens": tokens})
            yield

    def _mark(self) -> Iterator[None]:
        halfway, position = self._changes.log.halfway, self._changes.processed
        frame = Envelope(self._changes.name, {"type": "mark", "position": str(position)})
        for crowd in self._pages.crowds:
            if crowd.last_seq < halfway:
                send(crowd, frame, position.seq)
                yield
