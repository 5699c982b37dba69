"""Lists of pages that are closed again and again for not reading."""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic

SECONDS_BETWEEN_SLOW = 60.0
"""Who is closed for being slow twice within so long fetches once instead of catching up."""

MAX_SLOW_LISTS = 10_000


class SlowLists:
    """By the origin of their tokens; the newest ``MAX_SLOW_LISTS`` are remembered."""

    def __init__(self) -> None:
        self._closed: OrderedDict[str, float] = OrderedDict()
        self._fetching: OrderedDict[str, None] = OrderedDict()

    def add(self, origin: str) -> None:
        """The page of a list was closed for being slow."""
        now = monotonic()
        before = self._closed.pop(origin, None)
        if before is not None and now - before < SECONDS_BETWEEN_SLOW:
            self._fetching[origin] = None
        else:
            self._closed[origin] = now
        for table in (self._closed, self._fetching):
            while len(table) > MAX_SLOW_LISTS:
                table.popitem(last=False)

    def must_fetch(self, origin: str) -> bool:
        """Whether a list that comes back must be fetched. Asked once, it may come back then."""
        return bool(self._fetching) and self._fetching.pop(origin, self) is None
