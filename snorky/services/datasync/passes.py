"""Live only after a pass: which sources a page waits for, and who is told that it is late.

A commit that a page's own query saw may still wait in an outbox. Told one by one, such changes
would take the page back in time. So an opening asks the relay of each of its sources to pass once
more, and is live when such a pass, one that began later, has ended.
"""

from __future__ import annotations

import asyncio
import inspect
from bisect import insort
from collections.abc import Awaitable, Collection, Iterable, Iterator, Mapping
from operator import itemgetter
from time import monotonic
from typing import Any

from snorky.brokers import BrokerUnavailable
from snorky.brokers.log import Position
from snorky.services.datasync.log import ChangeLog
from snorky.services.datasync.pages import NO_SOURCES, Opened, Pages

Relay = bool | Mapping[str, Iterable[str]] | None


class Passes:
    """The sources of one service, as configured, and those who wait for them."""

    def __init__(
        self, relay: Relay, lease: float, max_lag: float, changes: ChangeLog, pages: Pages
    ) -> None:
        self.lease = lease
        """Seconds without a sign of life after which a relay has gone."""
        self.sources: dict[str, frozenset[str] | None] = _sources(relay)
        """The models of each; None: all."""
        self._max_lag = max_lag
        self._changes = changes
        self._pages = pages
        self._running = frozenset[str]()
        self._waiting: dict[str, list[tuple[int, list[Opened]]]] = {
            source: [] for source in self.sources
        }
        self._passed = dict.fromkeys(self.sources, 0)
        self._behind = False
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, models: Collection[str]) -> frozenset[str]:
        """The sources that rows of these models come from."""
        sources = [
            source
            for source, own in self.sources.items()
            if own is None or not own.isdisjoint(models)
        ]
        return frozenset(sources) if sources else NO_SOURCES

    def ended(self, source: str) -> int:
        """How many had asked when the last pass of a source began that has ended."""
        return self._passed[source]

    @property
    def lag(self) -> float:
        """Seconds by which this process is behind the head."""
        since = self._changes.line.waits_since
        waits = 0.0 if since is None else monotonic() - since
        return max(self._changes.log.lag, waits)

    def begin(self, opened: Iterable[Opened], was_live: Collection[Opened]) -> None:
        """Say which of those just opened are live, and ask for passes for the others.

        ``was_live``: those that were live when they dropped, and hold nothing newer.
        """
        if not self.sources:
            for each in opened:
                each.live = not self._behind
            return
        self._look()
        asking: dict[str, list[Opened]] = {}
        for each in opened:
            sources = self.of(each.models)
            late = self._behind or any(source not in self._running for source in sources)
            if each in was_live and not late:
                sources = NO_SOURCES
            each.waits = sources
            each.live = not sources and not self._behind
            for source in sources:
                asking.setdefault(source, []).append(each)
        for source, waiting in asking.items():
            self._ask(source, waiting)

    def passed(self, position: Position, source: str, asked: int) -> Iterator[None]:
        """A pass has ended that began after so many had asked."""
        if source not in self._passed:
            return
        self._passed[source] = max(asked, self._passed[source])
        waiting = self._waiting[source]
        reached: list[Opened] = []
        while waiting and waiting[0][0] <= asked:
            reached += waiting.pop(0)[1]
        yield from self._reached(source, reached, position)

    def look(self) -> None:
        """Called now and then: tell those who were live that their source, or we, have stopped."""
        self._look()
        self._announce()
        was_behind, self._behind = self._behind, self.lag > self._max_lag
        if self._behind and not was_behind:
            self._tell_late([each for each in self._pages.opened if each.live])
        elif was_behind and not self._behind:
            self._changes.line.do(self._caught_up())

    def forget(self) -> None:
        """Another epoch: nobody waits any more, and no relay has a lease."""
        for waiting in self._waiting.values():
            waiting.clear()
        self._passed = dict.fromkeys(self.sources, 0)
        self._running = frozenset()

    def _announce(self) -> None:
        """Let those wait (again) whose source has stopped."""
        lapsed = self.sources.keys() - self._running
        if not lapsed:
            return
        asking: dict[str, list[Opened]] = {}
        for each in self._pages.opened:
            for source in (lapsed & self.of(each.models)) - each.waits:
                asking.setdefault(source, []).append(each)
        for source, waiting in asking.items():
            for each in waiting:
                each.waits |= {source}
            self._ask(source, waiting)
        self._tell_late([each for each in self._pages.opened if each.live and each.waits])

    def _tell_late(self, late: list[Opened]) -> None:
        for each in late:
            each.live = False
        if late:
            self._changes.line.do(self._pages.tell(late, {"type": "late"}))

    def _caught_up(self) -> Iterator[None]:
        yield from self._tell_live(
            [each for each in self._pages.opened if not each.live and not each.waits]
        )

    def _reached(
        self, source: str, reached: list[Opened], position: Position | None = None
    ) -> Iterator[None]:
        for each in reached:
            each.waits = each.waits - {source} or NO_SOURCES
        if not self._behind:
            live = [each for each in reached if not each.waits and not each.live]
            yield from self._tell_live(live, position)

    def _tell_live(self, opened: list[Opened], position: Position | None = None) -> Iterator[None]:
        position = position or self._changes.processed
        for each in opened:
            each.live = True
        yield from self._pages.tell(opened, {"type": "live", "position": str(position)})

    # The log

    def _look(self) -> None:
        """See whose lease runs: at once where the log is here, else by the next look."""
        if not self.sources:
            return
        try:
            leases = self._changes.log.leases()
        except BrokerUnavailable:
            self._running = frozenset()
            return
        if inspect.isawaitable(leases):
            self._start(self._learn(leases))
        else:
            self._running = frozenset(leases.keys() & self.sources.keys())

    async def _learn(self, leases: Awaitable[Mapping[str, float]]) -> None:
        try:
            self._running = frozenset((await leases).keys() & self.sources.keys())
        except BrokerUnavailable:
            self._running = frozenset()
        self._announce()

    def _ask(self, source: str, waiting: list[Opened]) -> None:
        asked = self._changes.log.ask(source)
        if inspect.isawaitable(asked):
            self._start(self._asked(source, waiting, asked))
        else:
            self._waiting[source].append((asked, waiting))

    async def _asked(self, source: str, waiting: list[Opened], asked: Awaitable[int]) -> None:
        try:
            number = await asked
        except BrokerUnavailable:
            await asyncio.sleep(1)  # it is asked again until somebody hears
            waiting = [each for each in waiting if each.page is not None]
            if waiting:
                self._ask(source, waiting)
            return
        if number <= self._passed[source]:
            self._changes.line.do(self._reached(source, waiting))  # it was quicker than the answer
        else:
            insort(self._waiting[source], (number, waiting), key=itemgetter(0))

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _sources(relay: Relay) -> dict[str, frozenset[str] | None]:
    if not relay:
        return {}
    if relay is True:
        return {"main": None}
    if not isinstance(relay, Mapping):
        raise TypeError(f"relay is True, or the models of each source; got {relay!r}")
    sources: dict[str, frozenset[str] | None] = {}
    for source, models in relay.items():
        if isinstance(models, str):
            raise TypeError(f"the models of source '{source}' must be a list; got {models!r}")
        sources[source] = frozenset(models)
    return sources
