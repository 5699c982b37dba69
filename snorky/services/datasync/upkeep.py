"""What a service does with entries that concern subscriptions, and what it does now and then."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from time import monotonic
from typing import Any

from snorky.brokers.log import Entry, Position
from snorky.services.datasync.acquisitions import Acquisitions
from snorky.services.datasync.items import Item
from snorky.services.datasync.log import ChangeLog
from snorky.services.datasync.notices import StaleTelling
from snorky.services.datasync.openings import Openings
from snorky.services.datasync.pages import Opened, Pages, by_page, ids_of, spread_ms
from snorky.services.datasync.passes import Passes
from snorky.services.datasync.selection import Selection


class Upkeep:
    """Watches the log of one service (``log.Watcher``), and the clock while anything is open."""

    def __init__(
        self,
        changes: ChangeLog,
        pages: Pages,
        passes: Passes,
        classic: Acquisitions,
        openings: Openings,
        *,
        resume_ttl: float,
        item_ttl: float,
        shortest: float,
    ) -> None:
        self._changes = changes
        self._pages = pages
        self._passes = passes
        self._classic = classic
        self._openings = openings
        self._resume_ttl = resume_ttl
        self._item_ttl = item_ttl
        self._stale = StaleTelling(changes, pages, _call_later)
        self._interval = max(0.02, min(1.0, shortest / 4, item_ttl / 4, resume_ttl / 8))
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._revoked: deque[tuple[float, int]] = deque()
        changes.watcher = self
        kept = changes.log.kept_beside()
        if not inspect.isawaitable(kept):
            self.remember_revocations(kept)
        changes.log.on_trim(self._entry_trimmed)

    async def start(self) -> None:
        """Begin at what the log keeps, with the revocations beside it."""
        await self._changes.log.start()
        self._changes.begin()
        kept = self._changes.log.kept_beside()
        if inspect.isawaitable(kept):
            self.remember_revocations(await kept)

    # The log

    def models_reset(
        self, models: Collection[str], keyless: Collection[str], dealers: Collection[str]
    ) -> Iterator[None]:
        untold = {*models, *keyless}
        opened = [
            each
            for each in self._pages.opened
            if any(
                item.dealer_name in dealers or not item.models.isdisjoint(untold)
                for item in each.items
            )
        ]
        yield from self._pages.end_all(opened, "reset")
        if models:
            reset = frozenset(models)
            yield from self._classic.end_where(
                lambda described: not described.models.isdisjoint(reset), "reset"
            )

    def items_touched(self, items: Collection[Item]) -> None:
        self._stale.touched(items)

    def entry_appended(self, position: Position, data: Any) -> Iterator[None]:
        if "pass" in data:
            ended = data["pass"]
            yield from self._passes.passed(position, ended["source"], ended["asked"])
        elif "revoke" in data:
            selection = Selection.from_json(data["revoke"])
            self._remember(position, selection)
            meant = self._meant(selection)
            yield from self._pages.end_all(meant, "revoked")
            yield from self._classic.end_where(selection.matches, "revoked")
        elif "refresh" in data:
            selection = Selection.from_json(data["refresh"])
            if position.seq > self._changes.log.first.seq:
                self._openings.refreshes.add(position, selection)
            meant = self._meant(selection)
            pages = len({each.page for each in meant})
            for page, those in by_page(meant).items():
                self._pages.send(
                    page,
                    {
                        "type": "refresh",
                        "subscriptions": ids_of(those),
                        "position": str(position),
                        "after_ms": spread_ms(pages),
                    },
                )
                yield

    def log_lost(self) -> None:
        self._passes.forget()
        self._changes.line.put(self._end_everything())
        self._changes.line.advance()

    def log_begun_anew(self, beside: Sequence[Entry]) -> None:
        self._openings.revocations.clear()
        self._openings.refreshes.clear()
        self._revoked.clear()
        self.remember_revocations(beside)
        self.log_lost()

    def dealer_left(self, name: str) -> None:
        """A dealer is told of nothing any more: what its pages show cannot be promised."""
        self._changes.line.do(self.models_reset((), (), (name,)))

    def remember_revocations(self, entries: Sequence[Entry]) -> None:
        """Revocations kept beside the log, which this process may not have followed."""
        for entry in entries:
            self._remember(entry.position, Selection.from_json(entry.data["revoke"]))

    def _meant(self, selection: Selection) -> list[Opened]:
        return [each for each in self._pages.opened if selection.matches(each.described)]

    def _remember(self, position: Position, selection: Selection) -> None:
        self._openings.revocations.add(position, selection)
        self._revoked.append((monotonic() + self._resume_ttl, position.seq))

    def _entry_trimmed(self, entry: Entry) -> None:
        if self._openings.refreshes:
            self._openings.refreshes.forget(entry.position.seq)

    def _end_everything(self) -> Iterator[None]:
        yield from self._pages.end_all(self._pages.opened, "lost")
        yield from self._classic.end_where(lambda described: True, "lost")
        for item in self._changes.items:
            item.forget_all(self._changes.processed.seq)

    # The clock

    def go_on(self) -> None:
        """See to it that the clock is looked at, where there is a loop to do so."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_later(self._interval, self._look)

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._changes.log.stop()

    def _look(self) -> None:
        self._timer = None
        self._changes.log.trim()
        self._changes.line.do(self._pages.forget_idle(self._item_ttl))
        now = monotonic()
        while self._revoked and self._revoked[0][0] <= now:
            self._openings.revocations.forget(self._revoked.popleft()[1])
        self._passes.look()
        self._openings.renewals.look()
        if self._pages.by_client or self._changes.items or self._changes.log.bytes_kept:
            self.go_on()


def _call_later(seconds: float, callback: Callable[[], None]) -> None:
    """Where there is no loop nothing is later."""
    try:
        asyncio.get_running_loop().call_later(seconds, callback)
    except RuntimeError:
        pass
