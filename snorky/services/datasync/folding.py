"""An entry's deltas as one change of each row: what it was before, and what it is after.

A row that matched a filter for one statement of a transaction never existed for anybody else. The
rows between are kept apart, for entries that may hold several transactions: a page may have
queried between two of them, and must be told that such a row has gone, or is again what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from snorky.deltas import Delta, Reset, Row
from snorky.services.datasync.items import KeptRow, Place
from snorky.wire import canonical, encode

KeyOf = Callable[[str], "tuple[str, ...] | None"]


class Change:
    """What an entry did to one row. ``old`` and ``new``: None where it did not exist."""

    __slots__ = ("_kept", "between", "new", "old", "place", "times")

    def __init__(self, place: Place, old: Row | None) -> None:
        self.place = place
        self.old = old
        self.new: Row | None = None
        self.between: list[Row | None] = []
        """What else this one was within the entry."""
        self.times = 0
        self._kept: KeptRow | None = None

    def add(self, old: Row | None, new: Row | None) -> None:
        if self.times:
            self.between.append(self.new)
            if old is not None and old != self.new:
                self.between.append(old)
        self.new = new
        self.times += 1

    def is_nothing(self, *, several: bool) -> bool:
        """Whether nobody who has seen the row as it was need hear of it. One delta alone is
        believed: who publishes without knowing the old row says the new one twice.

        ``several``: the entry may hold several transactions, so what is shown may be of between.
        """
        return self.times > 1 and all(_same(seen, self.new) for seen in self._seen(several))

    @property
    def kept(self) -> KeptRow:
        """The new row, for notes and frames."""
        if self._kept is None:
            assert self.new is not None
            self._kept = KeptRow(self.new)
        return self._kept

    def shows_in(self, fields: frozenset[str] | None, *, several: bool) -> bool:
        """Whether what ``fields`` show of the row changed. A field that ``old`` lacks did."""
        new = self.new
        if fields is None or new is None:
            return True
        shown = _only(fields, new)
        return any(
            seen is None or not _same(_only(fields, seen), shown) for seen in self._seen(several)
        )

    def _seen(self, several: bool) -> list[Row | None]:
        """What a page may have seen of the row before it hears of the entry."""
        return [self.old, *self.between] if several else [self.old]


def _only(fields: frozenset[str], row: Row) -> Row:
    return {name: row[name] for name in fields if name in row}


class Folded:
    """The changes of an entry, and the models that it resets."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.resets: set[str] = set()
        self.keyless: set[str] = set()
        """Models of which a row without its key came: for pages as good as reset."""


def fold(deltas: Iterable[Delta], key_of: KeyOf) -> Iterator[Folded | None]:
    """Fold, yielding None now and then so that others get their turn, at last the result."""
    folded = Folded()
    by_row: dict[tuple[str, Any], Change] = {}
    for number, delta in enumerate(deltas):
        if number % 64 == 63:
            yield None
        model = delta.model
        if isinstance(delta, Reset):
            folded.resets.add(model)
            continue
        fields = key_of(model)
        if fields is None:
            continue  # pages that fetch again are told by the deltas themselves
        before, after = delta.before, delta.after
        old = None if before is None else place_of(model, before, fields)
        new = None if after is None else place_of(model, after, fields)
        if (before is not None and old is None) or (after is not None and new is None):
            folded.keyless.add(model)
            continue
        if old is not None and new is not None and old.identity != new.identity:
            _add(by_row, old, before, None)  # it changed its key: one row went, another came
            _add(by_row, new, None, after)
        else:
            place = new or old
            assert place is not None
            _add(by_row, place, before, after)
    untold = folded.resets | folded.keyless
    folded.changes = [change for change in by_row.values() if change.place.model not in untold]
    yield folded


def _same(one: Row | None, other: Row | None) -> bool:
    # Python takes True for 1; their JSON does not.
    return one == other and (one is other or encode(one) == encode(other))


def _add(
    by_row: dict[tuple[str, Any], Change], place: Place, old: Row | None, new: Row | None
) -> None:
    change = by_row.get((place.model, place.identity))
    if change is None:
        change = by_row[place.model, place.identity] = Change(place, old)
    change.add(old, new)


def place_of(model: str, row: Row, fields: tuple[str, ...]) -> Place | None:
    """Which row it is; None where it lacks (a part of) its key."""
    values = [row.get(name) for name in fields]
    if None in values:
        return None
    key: Any = values[0] if len(values) == 1 else values
    kind = type(key)
    identity = key if kind is int or kind is str else (canonical(key),)
    if kind is float and key.is_integer():
        identity = int(key)
    return Place(str(model), msgspec.Raw(encode(key)), identity)
