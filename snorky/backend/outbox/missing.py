"""Which numbers of the outbox may still come: those given out that no snapshot has shown yet.

Transactions take numbers and commit later, in another order. A relay that went on from the newest
number would lose them; one that read everything each time would read all that is deleted, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import NamedTuple

MOST_RANGES = 1000
"""Past it neighbours are joined: what lies between them is then looked for as well."""


class Missing(NamedTuple):
    """Numbers from ``low`` to ``high`` that nobody has seen."""

    low: int
    high: int
    until: int
    """Where every transaction before this one has ended, they do not exist."""
    since: float


class LowWater:
    """Numbers above ``newest`` have not been looked at; of those below, ``missing`` may come."""

    def __init__(self, newest: int = 0) -> None:
        self.newest = newest
        self.missing: list[Missing] = []
        self._given_out = newest

    @property
    def low(self) -> int:
        """Everything up to here has been told, or never was."""
        return self.missing[0].low - 1 if self.missing else self.newest

    @property
    def ranges(self) -> tuple[list[int], list[int]]:
        """Where to look again: the first and last numbers."""
        return [each.low for each in self.missing], [each.high for each in self.missing]

    @property
    def passes_over(self) -> bool:
        """Whether the next snapshot passes over numbers, even where it shows none."""
        return self._given_out > self.newest

    def expects(self, seconds: float) -> bool:
        """Whether numbers were given out lately that have not come."""
        after = monotonic() - seconds
        return any(each.since > after for each in self.missing)

    def saw(
        self, seen: Iterable[tuple[int, int]], oldest: int, newest: int, given_out: int
    ) -> None:
        """A snapshot has shown these ranges of numbers, and all of it has been told.

        ``oldest`` transaction that ran, as the snapshot says; ``newest``: one that began after all
        that had taken these numbers, where numbers are passed over;
        ``given_out``: a number that had been given out by then. Its transaction may be newer than
        the snapshot, so it counts from the next one on.
        """
        shown = sorted(seen)
        now = monotonic()
        top = max(self.newest, self._given_out, shown[-1][1] if shown else 0)
        before = [each for each in self.missing if each.until > oldest]
        if top > self.newest:
            before.append(Missing(self.newest + 1, top, newest, now))
        self.missing = _joined(list(_without(before, shown)))
        self.newest = top
        self._given_out = given_out


def _without(ranges: Iterable[Missing], shown: list[tuple[int, int]]) -> Iterable[Missing]:
    """The parts of ranges that were not shown. Both are in order."""
    start = 0
    for each in ranges:
        low = each.low
        while start < len(shown) and shown[start][1] < low:
            start += 1
        at = start
        while at < len(shown) and shown[at][0] <= each.high:
            if shown[at][0] > low:
                yield each._replace(low=low, high=shown[at][0] - 1)
            low = shown[at][1] + 1
            at += 1
        if low <= each.high:
            yield each._replace(low=low)


def _joined(ranges: list[Missing]) -> list[Missing]:
    while len(ranges) > MOST_RANGES:
        ranges = [
            ranges[i]
            if i + 1 == len(ranges)
            else Missing(
                ranges[i].low,
                ranges[i + 1].high,
                max(ranges[i].until, ranges[i + 1].until),
                max(ranges[i].since, ranges[i + 1].since),
            )
            for i in range(0, len(ranges), 2)
        ]
    return ranges
