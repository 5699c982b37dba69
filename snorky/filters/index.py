"""Which of a million filters match a row.

Equal filters are one entry, however many hold it. Entries are filed by what they ask (`cover`), a
row finds candidates by its facts (`filing`), and each candidate is checked by the function of its
shape (`shapes`). To add and to remove cost the same whatever is in the index.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from snorky.filters.buckets import Entry, Unindexed
from snorky.filters.cover import Cover, Method, asked_by
from snorky.filters.facts import Facts, Reader
from snorky.filters.filing import MAX_PLACES, Node
from snorky.filters.grammar import BadQuery, parse_by_kinds
from snorky.filters.nodes import Filter
from snorky.filters.shapes import Lowered, Shape, Shapes
from snorky.filters.values import Types, kinds_of

T = TypeVar("T")

MAX_UNINDEXED = 1_000

_WORDS: dict[Method, str] = {
    "equal": "==",
    "prefix": "startswith",
    "between": "between two bounds",
    "above": "above a bound",
    "below": "below a bound",
}


class Handle(Generic[T]):
    """One ``add``, to be given to ``remove``. ``payload`` is what was added with the filter."""

    __slots__ = ("_entry", "payload")

    def __init__(self, entry: Entry, payload: T) -> None:
        self._entry = entry
        self.payload = payload


@dataclass(frozen=True)
class Explanation:
    """What the index does for one row, or for an update of one."""

    filters: int
    """Different filters in the index."""

    candidates: int
    """Filters that were checked, each once."""

    hits: int
    """Those that match."""

    unindexed: int
    """Candidates of every row, since nothing that they ask for can be looked up."""

    facts: dict[str, Any]
    """What was looked up, by field."""


class FilterIndex(Generic[T]):
    """Finds the payloads of the filters that match a row.

    ``types`` are those of `parse`. ``max_unindexed`` bounds the filters that nothing parts: that
    ask for nothing but ``!=``, ``not`` and ``isnull``, beside what they have in common. They are
    looked at for every row, or for every row with that; one more is refused with BadQuery.
    """

    def __init__(self, types: Types | None = None, max_unindexed: int = MAX_UNINDEXED) -> None:
        self._kinds = kinds_of(types)
        self._limit = max_unindexed
        self._root = Node(max_unindexed)
        self._entries: dict[bytes, Entry] = {}
        self._reader = Reader()
        self._shapes = Shapes()
        self._length = 0
        # The facts of the last row, and the answer to them.
        self._asked: Facts | None = None
        self._answer: list[T] = []

    def __len__(self) -> int:
        """How often `add` was called, less `remove`."""
        return self._length

    @property
    def filters(self) -> int:
        """Different filters."""
        return len(self._entries)

    @property
    def unindexed(self) -> int:
        """Different filters that are looked at for every row."""
        return len(self._root.rest)

    @property
    def fields(self) -> list[str]:
        """The fields that filters look at, sorted."""
        return self._reader.fields

    def parse(self, filter: Any) -> Filter:  # noqa: A002 (the language's word)
        """Check a filter by this index's types. Raises BadQuery."""
        return parse_by_kinds(filter, self._kinds)

    def add(self, filter: Any, payload: T) -> Handle[T]:  # noqa: A002
        """File ``payload`` under a filter: JSON, or what `parse` returned. Raises BadQuery."""
        parsed = filter if isinstance(filter, Filter) else self.parse(filter)
        self._asked = None
        key = _key(parsed)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._file(key, parsed)
        handle = Handle(entry, payload)
        if entry.first is None:
            entry.first, entry.payload = handle, payload
        elif entry.more is None:
            entry.more = {handle: None}
        else:
            entry.more[handle] = None
        self._length += 1
        return handle

    def get(self, filter: Any) -> Handle[T] | None:  # noqa: A002
        """The handle of those under an equal filter that was added first, if there is one."""
        parsed = filter if isinstance(filter, Filter) else self.parse(filter)
        entry = self._entries.get(_key(parsed))
        return None if entry is None else entry.first

    def remove(self, handle: Handle[T]) -> None:
        """Undo one `add`. Raises KeyError where that was done already."""
        self._asked = None
        entry, more = handle._entry, handle._entry.more
        if handle is entry.first:
            if more is None:
                entry.first = None
                self._unfile(entry)
            else:
                entry.first = next(iter(more))
                entry.payload = entry.first.payload
                del more[entry.first]
        elif more is not None and handle in more:
            del more[handle]
        else:
            raise KeyError(handle)
        if not more:
            entry.more = None
        self._length -= 1

    def match(self, row: Any) -> list[T]:
        """The payloads of the filters that match a row, each `add` once, in any order.

        An update asks for the row before and the row after: where they do not differ in what any
        filter asks for, the second answer is the first.
        """
        facts = self._reader.read(row)
        if facts != self._asked:
            self._answer = self._payloads(facts)
            self._asked = facts
        return self._answer.copy()

    def match_update(self, old: Any, new: Any) -> tuple[list[T], list[T]]:
        """The payloads that match the row before, and those that match it after."""
        return self.match(old), self.match(new)

    def matches(self, handle: Handle[T], row: Any) -> bool:
        """Whether one filter of the index matches a row."""
        entry = handle._entry
        return entry.shape.test(self._reader.read(row).get, entry.arguments)

    def explain(self, row: Any, before: Any = None) -> Explanation:
        """What is looked up for a row, and how many filters are checked and match.

        ``before``: of an update, the row as it was. Where it differs in what filters ask for it is
        looked up, too, and both are counted.
        """
        facts = self._reader.read(row)
        looked_up = [facts]
        if before is not None:
            looked_up += [old for old in (self._reader.read(before),) if old != facts]
        candidates, hits = 0, 0
        for each in looked_up:
            found = set(self._found(each))
            candidates += len(found)
            hits += sum(entry.shape.test(each.get, entry.arguments) for entry in found)
        return Explanation(
            filters=len(self._entries),
            candidates=candidates,
            hits=hits,
            unindexed=len(self._root.rest),
            facts=dict(
                sorted((key[2:], value) for key, value in facts.items() if key[0] not in "pv")
            ),
        )

    def places(self, filter: Any) -> list[str] | None:  # noqa: A002
        """By what a row would find a filter, as ``team ==``, ``price between``: one of the places
        is enough. None where nothing can be looked up; empty where no row matches."""
        parsed = filter if isinstance(filter, Filter) else self.parse(filter)
        lowered = Lowered(parsed.node)
        shape, arguments = Shape(lowered.program), tuple(lowered.arguments)
        codes = Cover(shape, arguments, (), lambda method, key, value: 0, MAX_PLACES).find()
        if codes is None:
            return None
        asked = [asked_by(code, shape, arguments) for code in codes]
        return list(dict.fromkeys(f"{key[2:]} {_WORDS[method]}" for method, key, _ in asked))

    def _found(self, facts: Facts) -> list[Entry]:
        """Those that may match; some more than once."""
        found: list[Entry] = []
        self._root.collect(facts, found)
        return found

    def _payloads(self, facts: Facts) -> list[T]:
        get, payloads, seen = facts.get, [], set()
        for entry in self._found(facts):
            shape = entry.shape
            if shape.test(get, entry.arguments):
                if shape.has_or:  # Others are found in one place only.
                    if entry in seen:
                        continue
                    seen.add(entry)
                payloads.append(entry.payload)
                if entry.more is not None:
                    payloads += [handle.payload for handle in entry.more]
        return payloads

    def _file(self, key: bytes, parsed: Filter) -> Entry:
        lowered = Lowered(parsed.node)
        shape = self._shapes.take(lowered.program)
        arguments = lowered.arguments
        for offset in shape.key_offsets:
            arguments[offset] = self._reader.want(arguments[offset])
        entry = Entry(key, shape, tuple(arguments))
        self._entries[key] = entry
        try:
            self._root.add(entry)
        except Unindexed:
            self._unfile(entry)
            raise BadQuery(
                f"too many filters that nothing parts: at most {self._limit} different ones may "
                f"ask for nothing but !=, not and isnull beside what they have in common"
            ) from None
        return entry

    def _unfile(self, entry: Entry) -> None:
        for node, code in entry.each_place():
            node.discard(code, entry)
        for offset in entry.shape.key_offsets:
            self._reader.release(entry.arguments[offset])
        self._shapes.release(entry.shape)
        del self._entries[entry.key]


def _key(parsed: Filter) -> bytes:
    return blake2b(parsed.text.encode(), digest_size=16).digest()
