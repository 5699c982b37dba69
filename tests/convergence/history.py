"""Every table there ever was: what a view must have been at each position.

The test looks into positions, which clients never do: only so can it say which tables they mean.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

Rows = dict[tuple[str, int], dict[str, Any]]


MOST_IN_AN_ENTRY = 5
"""Transactions."""


def matches(query: Any, row: Any) -> bool:
    """The filters that the clients use, once more."""
    match query:
        case ["and", *parts]:
            return all(matches(part, row) for part in parts)
        case ["==", field, value]:
            return bool(row[field] == value)
        case ["<", field, value]:
            return bool(row[field] < value)
        case [">=", field, value]:
            return bool(row[field] >= value)
    raise AssertionError(query)


def view_of(rows: Rows, model: str, query: Any) -> dict[int, Any]:
    return {
        key: row for (table, key), row in rows.items() if table == model and matches(query, row)
    }


def place(position: str) -> tuple[str, int]:
    """Epoch and sequence of a position."""
    epoch, sequence, _ = position.split(".")
    return epoch, int(sequence)


class History:
    """The tables after each transaction, and which of them each position of the log is."""

    def __init__(self) -> None:
        self.tables: list[Rows] = [{}]
        self.by_key: dict[str, int] = {}
        """Transactions by their keys."""
        self._positions: dict[str, dict[int, int]] = {}

    @property
    def last(self) -> int:
        """The newest transaction; 0 is before the first."""
        return len(self.tables) - 1

    def commit(self, rows: Rows, key: str) -> int:
        self.tables.append(rows)
        self.by_key[key] = self.last
        return self.last

    def begun(self, epoch: str, transaction: int) -> None:
        """A log begins: what is in the database then is what came before its first entry."""
        self._positions.setdefault(epoch, {}).setdefault(0, transaction)

    def accepted(self, position: str, transaction: int) -> None:
        """The entry at a position ends with a transaction."""
        epoch, sequence = place(position)
        known = self._positions.setdefault(epoch, {})
        assert known.setdefault(sequence, transaction) == transaction, (position, transaction)

    def told_by(self, frame: dict[str, Any]) -> None:
        """A frame may be here before its publication is answered: its keys say what it tells."""
        numbers = [self.by_key[key] for key in frame.get("keys", ()) if key in self.by_key]
        if numbers:
            self.accepted(frame["position"], max(numbers))

    def transactions_at(self, position: str) -> Iterable[int]:
        """The last transaction that entries up to a position tell.

        More than one where the answers to the newest publications were lost with their log.
        """
        epoch, sequence = place(position)
        known = sorted(self._positions.get(epoch, {}).items())
        found = bisect_right(known, (sequence, float("inf")))
        last = known[found - 1][1] if found else 0
        if found < len(known):
            return (last,)
        return range(last, min(self.last, last + (sequence - known[-1][0]) * MOST_IN_AN_ENTRY) + 1)

    def view(self, transaction: int, model: str, query: Any) -> dict[int, Any]:
        return view_of(self.tables[transaction], model, query)
