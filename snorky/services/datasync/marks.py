"""What a change log notes of its entries, as long as they are kept: resets, and keys."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence

from snorky.brokers.log import Position
from snorky.services.datasync.items import Item


class Resets:
    """The newest reset of each model and dealer, while entries from before it are kept."""

    def __init__(self) -> None:
        self._by_model: dict[str, int] = {}
        self._by_dealer: dict[str, int] = {}
        self.newest = 0
        """None is later than this."""

    def add(self, seq: int, models: Iterable[str], dealers: Iterable[str]) -> None:
        for table, names in ((self._by_model, models), (self._by_dealer, dealers)):
            for name in names:
                table[name] = max(seq, table.pop(name, 0))
                self.newest = max(seq, self.newest)

    def after(self, seq: int, items: Iterable[Item]) -> bool:
        """Whether anything that these items show was reset after an entry."""
        return self.newest > seq and any(
            self._by_dealer.get(item.dealer_name, 0) > seq
            or any(self._by_model.get(model, 0) > seq for model in item.models)
            for item in items
        )

    def trim(self, seq: int) -> None:
        for table in (self._by_model, self._by_dealer):
            for name in [name for name, newest in table.items() if newest <= seq]:
                del table[name]


class Keys:
    """The keys of the transactions in the entries that are kept, and those who wait for one."""

    def __init__(self) -> None:
        self._positions: dict[str, Position] = {}
        self._by_seq: dict[int, list[str]] = {}
        self._waiting: dict[str, list[asyncio.Event]] = {}

    def add(self, position: Position, keys: Sequence[str]) -> None:
        if not keys:
            return
        self._by_seq[position.seq] = list(keys)
        for key in keys:
            self._positions[key] = position
            for event in self._waiting.pop(key, ()):
                event.set()

    def trim(self, seq: int) -> None:
        for key in self._by_seq.pop(seq, ()):
            position = self._positions.get(key)
            if position is not None and position.seq <= seq:
                del self._positions[key]

    async def wait(self, keys: Collection[str], timeout: float) -> Position | None:  # noqa: ASYNC109
        """The newest position of the keys, once this process has handed out all; None: too late."""
        try:
            async with asyncio.timeout(timeout):
                for key in keys:
                    while key not in self._positions:
                        await self._wait_for(key)
        except TimeoutError:
            return None
        known = [self._positions[key] for key in keys if key in self._positions]
        return max(known, key=lambda position: position.seq) if known else None

    async def _wait_for(self, key: str) -> None:
        event = asyncio.Event()
        events = self._waiting.setdefault(key, [])
        events.append(event)
        try:
            await event.wait()
        finally:
            if event in events:
                events.remove(event)
            if not events and self._waiting.get(key) is events:
                del self._waiting[key]
