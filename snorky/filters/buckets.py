"""Filters that share a predicate, and what becomes of them when they are too many.

One filter stands for itself, a few are a list, more are a bucket: parted by what else its filters
ask, in a node of its own (`filing`). Filters with a bound lie in blocks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

from snorky.filters.cover import Code, Used
from snorky.filters.facts import Facts
from snorky.filters.shapes import Shape

BUCKET_SIZE = 32
"""Filters that share a predicate before they are parted by another one."""

PARTED_AT_ONCE = 2
"""Filters of a bucket that overflowed which are filed anew with each that is added: so no single
one pays for all of them."""

SAMPLE_SIZE = 8
BLOCK_SIZE = 128
"""Filters in one block of bounds before it is cut in two."""


class Unindexed(Exception):
    """More filters than allowed have nothing by which they could be told apart."""


class Node(Protocol):
    """What files filters (`filing`), as its buckets see it."""

    def child(self, used: Used) -> Node: ...

    def place(self, code: Code | None) -> tuple[Node, Code | None]: ...

    def is_below(self, other: object) -> bool: ...

    def cover_of(self, entry: Entry) -> list[Code] | None: ...

    def add(self, entry: Entry) -> None: ...

    def discard(self, code: Code | None, entry: Entry) -> None: ...

    def collect(self, facts: Facts, found: list[Entry]) -> None: ...


class Entry:
    """A filter in the index. Whoever holds it is no business of the nodes."""

    __slots__ = ("arguments", "first", "key", "more", "payload", "places", "shape")

    def __init__(self, key: bytes, shape: Shape, arguments: tuple[Any, ...]) -> None:
        self.key = key
        self.shape = shape
        self.arguments = arguments
        # Nodes and codes in turn; as code None where it is in the node's rest. A million of
        # these are held, so nothing is kept that the arguments say anyway.
        self.places: tuple[Any, ...] = ()
        # Who holds it, with the payload of the first beside: mostly there is one, and a match
        # of a million filters waits for memory.
        self.first: Any = None
        self.payload: Any = None
        self.more: dict[Any, None] | None = None

    def enter(self, node: Node, codes: Sequence[Code | None]) -> None:
        if len(codes) == 1 and not self.places:
            self.places = node.place(codes[0])
        else:
            self.places += tuple([part for code in codes for part in (node, code)])

    def each_place(self) -> Iterator[tuple[Node, Code | None]]:
        return zip(self.places[::2], self.places[1::2], strict=True)

    def leave(self, node: Node) -> None:
        """Forget the places in a node that is given up, and in those below it."""
        kept = [place for place in self.each_place() if not place[0].is_below(node)]
        self.places = tuple([part for place in kept for part in place])


class Bucket:
    """Filters that share a predicate; with each the bound by which it was filed, or None."""

    __slots__ = ("entries", "node", "part_at", "used", "waiting")

    def __init__(self, used: Used, part_at: int = BUCKET_SIZE) -> None:
        self.entries: dict[Entry, Any] = {}
        self.node: Node | None = None
        self.used = used
        self.part_at = part_at
        # Of those that are parted by the node: which it has not filed yet.
        self.waiting: list[Entry] | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, entry: Entry, parent: Node, bound: Any = None) -> None:
        """Raises Unindexed; the entry is then in the bucket and in none of the nodes below."""
        if entry in self.entries:
            return
        self.entries[entry] = bound
        if self.node is not None:
            self.node.add(entry)
            if self.waiting is not None:
                self._part_some(self.node, self.waiting)
        elif len(self.entries) > self.part_at:
            self.part(parent)

    def part(self, parent: Node) -> None:
        """Begin to."""
        self.part_at = 2 * len(self.entries)
        node = parent.child(self.used)
        if self.used[-1][0] in ("above", "below"):
            # Filters with a bound and nothing else are well off in their block.
            sample = list(islice(reversed(self.entries), SAMPLE_SIZE))
            parted = sum(node.cover_of(entry) is not None for entry in sample)
            if 2 * parted < len(sample):
                return
        self.node = node
        self.waiting = list(self.entries)

    def _part_some(self, node: Node, waiting: list[Entry]) -> None:
        for _ in range(PARTED_AT_ONCE):
            try:
                node.add(waiting[-1])
            except Unindexed:
                return  # They stay: as many as there were before it was parted.
            waiting.pop()
            if not waiting:
                self.waiting = None
                return

    def give_up_node(self) -> None:
        if self.node is not None:
            for entry in self.entries:
                entry.leave(self.node)
            self.node = self.waiting = None

    def discard(self, entry: Entry) -> None:
        self.entries.pop(entry, None)
        if self.waiting is not None and entry in self.waiting:
            self.waiting.remove(entry)
            if not self.waiting:
                self.waiting = None
        if len(self.entries) == 1:
            self.give_up_node()

    def collect(self, facts: Facts, found: list[Entry]) -> None:
        if self.node is None:
            found += self.entries
        else:
            if self.waiting is not None:
                found += self.waiting
            self.node.collect(facts, found)


# A bucket of one filter is the filter itself, one of a few is a list: most are.
Slot = Entry | list[Entry] | Bucket
Slots = dict[Any, Slot]


def file(slots: Slots, value: Any, entry: Entry, node: Node, used: Used) -> None:
    slot = slots.get(value)
    if slot is None:
        slots[value] = entry
    elif type(slot) is list:
        if entry not in slot:
            slot.append(entry)
            if len(slot) > BUCKET_SIZE:
                bucket = slots[value] = Bucket(used)
                bucket.entries = dict.fromkeys(slot)
                bucket.part(node)
    elif type(slot) is Bucket:
        slot.add(entry, node)
    elif slot is not entry:
        slots[value] = [slot, entry]  # type: ignore[list-item]  # mypy cannot tell what is left


def unfile(slots: Slots, value: Any, entry: Entry) -> None:
    slot = slots.get(value)
    if slot is entry:
        del slots[value]
    elif type(slot) is list:
        if entry in slot:
            slot.remove(entry)
            if len(slot) == 1:
                slots[value] = slot[0]
    elif type(slot) is Bucket:
        slot.discard(entry)
        if not slot.entries:
            del slots[value]


def count(slot: Slot | None) -> int:
    if slot is None:
        return 0
    return 1 if type(slot) is Entry else len(slot)  # type: ignore[arg-type]


def collect(slot: Slot, facts: Facts, found: list[Entry]) -> None:
    if type(slot) is Entry:
        found.append(slot)
    elif type(slot) is Bucket:
        slot.collect(facts, found)
    else:
        found += slot  # type: ignore[arg-type]


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
        is_parted = block.node is not None
        halves = Bucket(self.used, BLOCK_SIZE), Bucket(self.used, BLOCK_SIZE)
        block.give_up_node()
        for entry, bound in block.entries.items():
            halves[bound >= middle].entries[entry] = bound
        for half in halves:
            if is_parted and len(half) > BUCKET_SIZE:
                half.part(node)
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
