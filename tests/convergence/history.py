"""Every table there ever was: what a view must have been at each position.

The test looks into positions, which clients never do: only so can it say which tables they mean.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from operator import itemgetter
from typing import Any, NamedTuple

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


class Told(NamedTuple):
    """The transactions that an entry tells. A reset tells none: what follows begins after it."""

    first: int
    last: int


class History:
    """The tables after each transaction, and which of them each position of the log is."""

    def __init__(self) -> None:
        self.tables: list[Rows] = [{}]
        self.problems: list[str] = []
        self._by_key: dict[str, int] = {}
        self._begun: dict[str, int] = {}
        self._entries: dict[str, dict[int, Told]] = {}
        self._places: dict[tuple[str, int], int] = {}

    @property
    def last(self) -> int:
        """The newest transaction; 0 is before the first."""
        return len(self.tables) - 1

    def commit(self, rows: Rows, key: str) -> None:
        self.tables.append(rows)
        self._by_key[key] = self.last

    def begun(self, epoch: str, transaction: int) -> None:
        """A log begins. Up to that transaction, or later ones, none of it will be told there."""
        self._begun.setdefault(epoch, transaction)

    def knows(self, epoch: str) -> bool:
        return epoch in self._begun

    def accepted(self, position: str, first: int, last: int) -> None:
        """The entry at a position tells these transactions; none where ``first`` is past them."""
        epoch, sequence = place(position)
        told = Told(first, last)
        known = self._entries.setdefault(epoch, {}).setdefault(sequence, told)
        if known != told:
            self.problems.append(f"{position} is {known} and {told}")
        for transaction in range(first, last + 1):
            if self._places.setdefault((epoch, transaction), sequence) != sequence:
                self.problems.append(f"transaction {transaction} is in the log twice")

    def told_by(self, frame: dict[str, Any]) -> None:
        """A frame may be here before its publication is answered: its keys say what it tells."""
        numbers = [self._by_key[key] for key in frame.get("keys", ()) if key in self._by_key]
        if numbers:
            self.accepted(frame["position"], min(numbers), max(numbers))

    def transactions_at(self, position: str) -> Iterable[int]:
        """What may be the last transaction that entries up to a position tell.

        One, where it is known what the entries before and after it tell. Who publishes may not
        have heard: because the server died, or because he did. So there may be unknown entries
        between two that are known, and behind the last of a log that has ended.
        """
        epoch, sequence = place(position)
        known = sorted(self._entries.get(epoch, {}).items())
        found = bisect_right(known, sequence, key=itemgetter(0))
        since, last = 0, self._begun[epoch]
        if found:
            since, last = known[found - 1][0], known[found - 1][1].last
        if found < len(known):
            end = known[found][1].first
        elif epoch == list(self._begun)[-1]:
            end = last + 1
        else:
            end = min(self.last, last + (sequence - since) * MOST_IN_AN_ENTRY) + 1
        return range(last, max(end, last + 1))

    def view(self, transaction: int, model: str, query: Any) -> dict[int, Any]:
        return view_of(self.tables[transaction], model, query)
