"""Where filters are filed: nodes of columns of buckets, each parted further when it overflows.

A node files each of its filters under the predicates of its cover. Where many filters share a
predicate, their bucket becomes a node itself, which files them by what else they ask. A row walks
down the nodes with its facts and collects candidates; it may find filters that do not match it, and
never misses one that does.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from typing import Any

from snorky.filters.cover import Method, Predicate, Used, cover
from snorky.filters.facts import Facts
from snorky.filters.positions import cells_of, position
from snorky.filters.shapes import Shape

BUCKET_SIZE = 16
"""Filters that share a predicate before they are parted by another one."""

SAMPLE_SIZE = 8
BLOCK_SIZE = 128
"""Filters in one block of bounds before it is cut in two."""

MAX_PLACES = 1_000
"""Predicates under which a filter is filed at first."""

MAX_PLACES_BELOW = 16
"""The same in each bucket that overflowed."""

MAX_WORK = 4_000
"""Places times comparisons of a filter: past it, it is not parted from others any further. So to
add the largest filter takes some milliseconds, not seconds."""

MAX_PREFIX = 64
"""Characters by which a prefix is filed: they bound the look-ups for a long text."""


class Unindexed(Exception):
    """More filters than allowed have nothing by which they could be told apart."""


class Entry:
    """A filter in the index. Whoever holds it is no business of the nodes."""

    __slots__ = ("arguments", "holders", "key", "places", "shape")

    def __init__(self, key: bytes, shape: Shape, arguments: tuple[Any, ...]) -> None:
        self.key = key
        self.shape = shape
        self.arguments = arguments
        self.places: tuple[Place, ...] = ()
        self.holders: Any = None

    def leave(self, node: Node) -> None:
        """Forget the places in a node that is given up, and in those below it."""
        self.places = tuple(place for place in self.places if not place[0].is_below(node))


class Bucket:
    """Filters that share a predicate; with each the bound by which it was filed, or None."""

    __slots__ = ("entries", "node", "part_at", "used")

    def __init__(self, used: Used, part_at: int = BUCKET_SIZE) -> None:
        self.entries: dict[Entry, Any] = {}
        self.node: Node | None = None
        self.used = used
        self.part_at = part_at

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, entry: Entry, parent: Node, bound: Any = None) -> None:
        """Raises Unindexed; the entry is then in the bucket and in none of the nodes below."""
        if entry in self.entries:
            return
        self.entries[entry] = bound
        if self.node is not None:
            self.node.add(entry)
        elif len(self.entries) > self.part_at:
            self._part(parent)

    def _part(self, parent: Node) -> None:
        self.part_at = 2 * len(self.entries)
        node = Node(parent.limit, self.used, parent)
        if self.used[-1][0] in ("above", "below"):
            # Filters with a bound and nothing else are well off in their block.
            sample = list(islice(reversed(self.entries), SAMPLE_SIZE))
            parted = sum(node.cover_of(entry) is not None for entry in sample)
            if 2 * parted < len(sample):
                return
        for entry in self.entries:
            node.add(entry)
        self.node = node

    def give_up_node(self) -> None:
        if self.node is not None:
            for entry in self.entries:
                entry.leave(self.node)
            self.node = None

    def discard(self, entry: Entry) -> None:
        self.entries.pop(entry, None)
        if len(self.entries) == 1:
            self.give_up_node()

    def collect(self, facts: Facts, found: list[Entry]) -> None:
        if self.node is None:
            found += self.entries
        else:
            self.node.collect(facts, found)


# A bucket of one filter is the filter itself: most are.
Slots = dict[Any, "Entry | Bucket"]


def _file(slots: Slots, value: Any, entry: Entry, node: Node, used: Used) -> None:
    slot = slots.get(value)
    if slot is None:
        slots[value] = entry
    elif type(slot) is Bucket:
        slot.add(entry, node)
    elif slot is not entry:
        assert isinstance(slot, Entry)
        bucket = slots[value] = Bucket(used)
        bucket.entries[slot] = None
        bucket.add(entry, node)


def _unfile(slots: Slots, value: Any, entry: Entry) -> None:
    slot = slots.get(value)
    if slot is entry:
        del slots[value]
    elif type(slot) is Bucket:
        slot.discard(entry)
        if not slot.entries:
            del slots[value]


class Blocks:
    """Filters by a bound, in blocks: all of a block's bounds lie before the next block's.

    Those with a smaller bound than a fact are whole blocks, and part of one.
    """

    __slots__ = ("blocks", "firsts", "upwards", "used")

    def __init__(self, used: Used, *, upwards: bool) -> None:
        self.firsts: list[Any] = []
        self.blocks: list[Bucket] = []
        self.used = used
        # Whether the bounds are lower ones, which larger facts satisfy.
        self.upwards = upwards

    def _index(self, bound: Any) -> int:
        return max(0, bisect_right(self.firsts, bound) - 1)

    def add(self, bound: Any, entry: Entry, node: Node) -> None:
        if not self.blocks:
            self.firsts.append(bound)
            self.blocks.append(Bucket(self.used))
        index = self._index(bound)
        block = self.blocks[index]
        if bound < self.firsts[index]:
            self.firsts[index] = bound
        known = block.entries.get(entry)
        if known is not None:
            # One filter with two bounds here counts with the one that more facts satisfy.
            block.entries[entry] = (min if self.upwards else max)(known, bound)
            return
        block.add(entry, node, bound)
        if len(block) > BLOCK_SIZE:
            self._cut(index, node)

    def _cut(self, index: int, node: Node) -> None:
        block = self.blocks[index]
        bounds = sorted(block.entries.values())
        middle = bounds[len(bounds) // 2]
        if middle == bounds[0]:
            middle = bounds[bisect_right(bounds, middle)] if bounds[-1] != middle else None
        if middle is None:
            return
        # What nothing else parted so far is not looked at again before the next cut.
        part_at = BUCKET_SIZE if block.node is not None else BLOCK_SIZE
        halves = Bucket(self.used, part_at), Bucket(self.used, part_at)
        block.give_up_node()
        for entry, bound in block.entries.items():
            halves[bound >= middle].add(entry, node, bound)
        self.blocks[index : index + 1] = halves
        self.firsts.insert(index + 1, middle)

    def discard(self, bound: Any, entry: Entry) -> None:
        if not self.blocks:
            return
        index = self._index(bound)
        block = self.blocks[index]
        block.discard(entry)
        if not block.entries:
            del self.blocks[index], self.firsts[index]

    def collect(self, value: Any, facts: Facts, found: list[Entry]) -> None:
        if self.upwards:
            blocks = self.blocks[: bisect_right(self.firsts, value)]
        else:
            blocks = self.blocks[self._index(value) :]
        for block in blocks:
            block.collect(facts, found)


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
                _collect(slot, facts, found)
        if self.prefix is not None:
            for length, slots in self.prefix.items():
                if length <= len(value):
                    slot = slots.get(value[:length])
                    if slot is not None:
                        _collect(slot, facts, found)
        if self.between is not None:
            place = position(value)
            for level, slots in self.between.items():
                slot = slots.get(place >> level)
                if slot is not None:
                    _collect(slot, facts, found)
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


def _collect(slot: Entry | Bucket, facts: Facts, found: list[Entry]) -> None:
    if type(slot) is Bucket:
        slot.collect(facts, found)
    else:
        assert isinstance(slot, Entry)
        found.append(slot)


class Node:
    """Files filters under the predicates of their covers; those without one are its rest."""

    __slots__ = ("columns", "limit", "parent", "parted_by_nothing", "rest", "used")

    def __init__(self, limit: int, used: Used = (), parent: Node | None = None) -> None:
        self.limit = limit
        self.used = used
        self.parent = parent
        self.columns: dict[str, Column] = {}
        self.rest: dict[Entry, None] = {}
        self.parted_by_nothing = 0

    def is_below(self, other: Node) -> bool:
        node: Node | None = self
        while node is not None:
            if node is other:
                return True
            node = node.parent
        return False

    def cover_of(self, entry: Entry) -> list[Predicate] | None:
        most = MAX_PLACES
        if self.parent is not None:
            if len(entry.places) * entry.shape.leaves > MAX_WORK:
                return None
            most = MAX_PLACES_BELOW
        return cover(entry.shape.program, entry.arguments, self.used, self.count, most)

    def add(self, entry: Entry) -> None:
        """Raises Unindexed where the rest is full."""
        predicates = self.cover_of(entry)
        if predicates is None:
            if self._counts(entry):
                if self.parted_by_nothing >= self.limit:
                    raise Unindexed
                self.parted_by_nothing += 1
            self.rest[entry] = None
            entry.places += ((self, None),)
            return
        entry.places += tuple([(self, predicate) for predicate in predicates])
        for predicate in predicates:
            self._file(predicate, entry)

    def _counts(self, entry: Entry) -> bool:
        """Whether rows look at this filter of the rest in vain.

        In a bucket they do not where one predicate is all that the filter asks for.
        """
        return self.parent is None or not entry.shape.one_is_enough

    def _file(self, predicate: Predicate, entry: Entry) -> None:
        method, key, value = predicate
        column = self.columns.get(key)
        if column is None:
            column = self.columns[key] = Column()
        if method == "equal":
            if column.equal is None:
                column.equal = {}
            _file(column.equal, value, entry, self, self._then(method, key))
        elif method == "prefix":
            if column.prefix is None:
                column.prefix = {}
            prefix = value[:MAX_PREFIX]
            slots = column.prefix.setdefault(len(prefix), {})
            _file(slots, prefix, entry, self, self._then(method, key))
        elif method == "between":
            if column.between is None:
                column.between = {}
            level, cells = cells_of(*value)
            slots = column.between.setdefault(level, {})
            for cell in cells:
                _file(slots, cell, entry, self, self._then(method, key))
        elif method == "above":
            if column.above is None:
                column.above = Blocks(self._then(method, key), upwards=True)
            column.above.add(value, entry, self)
        else:
            if column.below is None:
                column.below = Blocks(self._then(method, key), upwards=False)
            column.below.add(value, entry, self)

    def _then(self, method: Method, key: str) -> Used:
        return (*self.used, (method, key))

    def discard(self, predicate: Predicate | None, entry: Entry) -> None:
        if predicate is None:
            del self.rest[entry]
            self.parted_by_nothing -= self._counts(entry)
            return
        method, key, value = predicate
        column = self.columns.get(key)
        if column is None:
            return
        if method == "equal":
            _unfile(column.equal or {}, value, entry)
        elif method == "prefix":
            prefix = value[:MAX_PREFIX]
            _unfile_grouped(column.prefix or {}, len(prefix), (prefix,), entry)
        elif method == "between":
            _unfile_grouped(column.between or {}, *cells_of(*value), entry)
        else:
            blocks = column.above if method == "above" else column.below
            if blocks is not None:
                blocks.discard(value, entry)
        if column.is_empty():
            del self.columns[key]

    def count(self, predicate: Predicate) -> int:
        """About how many filters are filed under a predicate."""
        method, key, value = predicate
        column = self.columns.get(key)
        if column is None:
            return 0
        if method == "equal":
            slot = (column.equal or {}).get(value)
        elif method == "prefix":
            slot = (
                (column.prefix or {}).get(min(len(value), MAX_PREFIX), {}).get(value[:MAX_PREFIX])
            )
        else:
            blocks = column.above if method == "above" else column.below
            return 0 if blocks is None else BLOCK_SIZE * len(blocks.blocks)
        if slot is None:
            return 0
        return len(slot) if type(slot) is Bucket else 1

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


Place = tuple[Node, Predicate | None]


def _unfile_grouped(
    groups: dict[int, Slots], group: int, values: tuple[Any, ...], entry: Entry
) -> None:
    slots = groups.get(group)
    if slots is None:
        return
    for value in values:
        _unfile(slots, value, entry)
    if not slots:
        del groups[group]
