"""Where filters are filed: nodes of columns of buckets, each parted further when it overflows.

A node files each of its filters under the predicates of its cover. Where many filters share a
predicate, their bucket becomes a node itself, which files them by what else they ask. A row walks
down the nodes with its facts and collects candidates; it may find filters that do not match it, and
never misses one that does.
"""

from __future__ import annotations

from typing import Any

from snorky.filters.buckets import (
    BLOCK_SIZE,
    Blocks,
    Entry,
    Slots,
    Unindexed,
    collect,
    count,
    file,
    unfile,
)
from snorky.filters.cover import Asked, Code, Cover, Method, Used, asked_by
from snorky.filters.facts import Facts
from snorky.filters.positions import cells_of, position

MAX_PLACES = 1_000
"""Predicates under which a filter is filed at first."""

MAX_PLACES_BELOW = 16
"""The same in each bucket that overflowed."""

MAX_WORK = 4_000
"""Places times comparisons of a filter: past it, it is not parted from others any further. So to
add the largest filter takes some milliseconds, not seconds."""

MAX_KEPT_PLACES = 256

MAX_PREFIX = 64
"""Characters by which a prefix is filed: they bound the look-ups for a long text."""


class Column:
    """The filters of a node that ask about one fact, each by its method."""

    __slots__ = ("above", "below", "between", "equal", "prefix")

    def __init__(self) -> None:
        self.equal: Slots | None = None
        # By the length of the prefix, by the level of the interval.
        self.prefix: dict[int, Slots] | None = None
        self.between: dict[int, Slots] | None = None
        self.above: Blocks | None = None
        self.below: Blocks | None = None

    def collect(self, value: Any, facts: Facts, found: list[Entry]) -> None:
        if self.equal is not None:
            slot = self.equal.get(value)
            if slot is not None:
                collect(slot, facts, found)
        if self.prefix is not None:
            for length, slots in self.prefix.items():
                if length <= len(value):
                    slot = slots.get(value[:length])
                    if slot is not None:
                        collect(slot, facts, found)
        if self.between is not None:
            place = position(value)
            for level, slots in self.between.items():
                slot = slots.get(place >> level)
                if slot is not None:
                    collect(slot, facts, found)
        if self.above is not None:
            self.above.collect(value, facts, found)
        if self.below is not None:
            self.below.collect(value, facts, found)

    def is_empty(self) -> bool:
        return not (
            self.equal
            or self.prefix
            or self.between
            or (self.above is not None and self.above.blocks)
            or (self.below is not None and self.below.blocks)
        )


class Node:
    """Files filters under the predicates of their covers; those without one are its rest."""

    __slots__ = ("_places", "columns", "limit", "parent", "parted_by_nothing", "rest", "used")

    def __init__(self, limit: int, used: Used = (), parent: Node | None = None) -> None:
        self.limit = limit
        self.used = used
        self.parent = parent
        self.columns: dict[str, Column] = {}
        self.rest: dict[Entry, None] = {}
        self.parted_by_nothing = 0
        self._places: dict[Code | None, tuple[Node, Code | None]] = {}

    def place(self, code: Code | None) -> tuple[Node, Code | None]:
        """The same object for all filters that are here and nowhere else: most are in one place."""
        known = self._places.get(code)
        if known is None:
            known = (self, code)
            if len(self._places) < MAX_KEPT_PLACES:
                self._places[code] = known
        return known

    def child(self, used: Used) -> Node:
        """A node for a bucket of this one."""
        return Node(self.limit, used, self)

    def is_below(self, other: object) -> bool:
        node: Node | None = self
        while node is not None:
            if node is other:
                return True
            node = node.parent
        return False

    def cover_of(self, entry: Entry) -> list[Code] | None:
        most = MAX_PLACES
        if self.parent is not None:
            if len(entry.places) * entry.shape.leaves > 2 * MAX_WORK:
                return None
            most = MAX_PLACES_BELOW
        return Cover(entry.shape, entry.arguments, self.used, self.count, most).find()

    def add(self, entry: Entry) -> None:
        """Raises Unindexed where the rest is full."""
        codes = self.cover_of(entry)
        if codes is None:
            if self._counts(entry):
                if self.parted_by_nothing >= self.limit:
                    raise Unindexed
                self.parted_by_nothing += 1
            self.rest[entry] = None
            entry.enter(self, [None])
            return
        entry.enter(self, codes)
        for code in codes:
            self._file(asked_by(code, entry.shape, entry.arguments), entry)

    def _counts(self, entry: Entry) -> bool:
        """Whether rows look at this filter of the rest in vain.

        In a bucket they do not where one predicate is all that the filter asks for.
        """
        return self.parent is None or not entry.shape.one_is_enough

    def _file(self, asked: Asked, entry: Entry) -> None:
        method, key, values = asked
        column = self.columns.get(key)
        if column is None:
            column = self.columns[key] = Column()
        then = (*self.used, (method, key))
        if method == "equal":
            if column.equal is None:
                column.equal = {}
            for value in values:
                file(column.equal, value, entry, self, then)
            return
        [value] = values
        if method == "prefix":
            if column.prefix is None:
                column.prefix = {}
            prefix = value[:MAX_PREFIX]
            file(column.prefix.setdefault(len(prefix), {}), prefix, entry, self, then)
        elif method == "between":
            if column.between is None:
                column.between = {}
            level, cells = cells_of(*value)
            slots = column.between.setdefault(level, {})
            for cell in cells:
                file(slots, cell, entry, self, then)
        elif method == "above":
            if column.above is None:
                column.above = Blocks(then, upwards=True)
            column.above.add(value, entry, self)
        else:
            if column.below is None:
                column.below = Blocks(then, upwards=False)
            column.below.add(value, entry, self)

    def discard(self, code: Code | None, entry: Entry) -> None:
        if code is None:
            del self.rest[entry]
            self.parted_by_nothing -= self._counts(entry)
            return
        self._unfile(asked_by(code, entry.shape, entry.arguments), entry)

    def _unfile(self, asked: Asked, entry: Entry) -> None:
        method, key, values = asked
        column = self.columns.get(key)
        if column is None:
            return
        if method == "equal":
            slots = column.equal or {}
            for value in values:
                unfile(slots, value, entry)
        else:
            [value] = values
            self._unfile_one(column, method, value, entry)
        if column.is_empty():
            del self.columns[key]

    def _unfile_one(self, column: Column, method: Method, value: Any, entry: Entry) -> None:
        if method == "prefix":
            prefix = value[:MAX_PREFIX]
            _unfile_grouped(column.prefix or {}, len(prefix), (prefix,), entry)
        elif method == "between":
            _unfile_grouped(column.between or {}, *cells_of(*value), entry)
        else:
            blocks = column.above if method == "above" else column.below
            if blocks is not None:
                blocks.discard(value, entry)

    def count(self, method: Method, key: str, value: Any) -> int:
        """About how many filters are filed under a predicate."""
        column = self.columns.get(key)
        if column is None:
            return 0
        if method == "equal":
            return count(column.equal.get(value)) if column.equal is not None else 0
        if method == "prefix":
            slots = (column.prefix or {}).get(min(len(value), MAX_PREFIX), {})
            return count(slots.get(value[:MAX_PREFIX]))
        blocks = column.above if method == "above" else column.below
        return 0 if blocks is None else BLOCK_SIZE * len(blocks.blocks)

    def collect(self, facts: Facts, found: list[Entry]) -> None:
        found += self.rest
        columns = self.columns
        # Whichever is fewer: a thousand fields in filters cost a row of ten facts nothing.
        if len(facts) < len(columns):
            for key, value in facts.items():
                column = columns.get(key)
                if column is not None:
                    column.collect(value, facts, found)
        else:
            for key, column in columns.items():
                value = facts.get(key)
                if value is not None:
                    column.collect(value, facts, found)


def _unfile_grouped(
    groups: dict[int, Slots], group: int, values: tuple[Any, ...], entry: Entry
) -> None:
    slots = groups.get(group)
    if slots is None:
        return
    for value in values:
        unfile(slots, value, entry)
    if not slots:
        del groups[group]
