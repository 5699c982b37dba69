"""What views must have been where a database told its changes itself: transactions commit there
side by side, and the order is the log's. The server writes down every entry."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.convergence.history import Rows, place, view_of
from tests.convergence.lists import ListView

Changes = list[tuple[str, int, Any]]
"""Model, key and row (None: it is gone) of each row that a transaction left otherwise."""


class Told:
    """``committed``: by key, what each transaction changed, as it said itself."""

    def __init__(self, record: Path, committed: dict[str, Changes]) -> None:
        self._committed = committed
        self._epochs: dict[str, dict[int, list[str]]] = {}
        for line in record.read_text().splitlines():
            entry = json.loads(line)
            epoch, sequence = place(entry["position"])
            self._epochs.setdefault(epoch, {})[sequence] = entry["keys"]
        self._tables: dict[tuple[str, int], Rows] = {}
        self._bases: dict[str, Rows] = {}
        for epoch in self._epochs:
            self._bases[epoch] = self._base(epoch)

    def problems(self, lists: Iterable[ListView]) -> Iterator[str]:
        """What was lost or doubled, and the first thing that is wrong with each list."""
        told: set[str] = set()
        for entries in self._epochs.values():
            counts = Counter(key for keys in entries.values() for key in keys)
            told |= counts.keys()
            for key, count in counts.items():
                if count > 1 and key in self._committed:
                    yield f"{key} was told {count} times"
        for key in self._committed.keys() - told:
            yield f"{key} was never told"
        for each in lists:
            yield from self._problem(each)

    def moments(self) -> Iterator[Rows]:
        """The tables as the logs told them, entry after entry, one log after the other."""
        for epoch, entries in self._epochs.items():
            for sequence in sorted(entries):
                yield self._at(epoch, sequence)

    def _problem(self, each: ListView) -> Iterator[str]:
        newest: dict[str, int] = {}
        for shown in each.log:
            if shown.position is None:
                continue  # as it came from the database
            epoch, sequence = place(shown.position)
            if sequence > max(self._epochs.get(epoch, {0: []})):
                continue  # the server was killed before it wrote that down
            if sequence < newest.get(epoch, 0):
                yield f"{each} went back to {shown.position}"
                return
            newest[epoch] = sequence
            right = view_of(self._at(epoch, sequence), each.model, each.query)
            if shown.rows != right:
                wrong = {
                    key: (shown.rows.get(key), right.get(key))
                    for key in shown.rows.keys() | right.keys()
                    if shown.rows.get(key) != right.get(key)
                }
                yield f"{each} showed at {shown.position} ({shown.why}) wrong rows: {wrong}"
                return

    def _base(self, epoch: str) -> Rows:
        """The tables before the first entry: what earlier logs told, and this one does not."""
        own = {key for keys in self._epochs[epoch].values() for key in keys}
        rows: Rows = {}
        for other, entries in self._epochs.items():
            if other == epoch:
                break
            for sequence in sorted(entries):
                self._apply(rows, [key for key in entries[sequence] if key not in own])
        return rows

    def _at(self, epoch: str, sequence: int) -> Rows:
        known = self._tables.get((epoch, sequence))
        if known is None:
            start, known = 0, dict(self._bases[epoch])
            for before in range(sequence - 1, 0, -1):
                if (epoch, before) in self._tables:
                    start, known = before, dict(self._tables[epoch, before])
                    break
            for number in range(start + 1, sequence + 1):
                self._apply(known, self._epochs[epoch].get(number, ()))
            self._tables[epoch, sequence] = known
        return known

    def _apply(self, rows: Rows, keys: Iterable[str]) -> None:
        for key in keys:
            for model, number, row in self._committed.get(key, ()):
                if row is None:
                    rows.pop((model, number), None)
                else:
                    rows[model, number] = row
