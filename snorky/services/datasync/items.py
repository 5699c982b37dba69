"""What is asked for, shared by all who ask for it, and what is noted of each change beside it.

Nothing here is kept once per subscriber. Dealers match ``SharedQuery``; pages hold ``Item``, the
same query with what changed in it; classic subscriptions with the same items form an ``ItemSet``,
connections that hold the same items a ``Crowd``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from snorky.audience import Audience
from snorky.deltas import Row
from snorky.envelope import Envelope
from snorky.hashable import hashable
from snorky.services.datasync.subscription import Subscription, SubscriptionItem
from snorky.wire import decode, encode

NOTE_BYTES = 120
"""What a note costs beside its row, about."""


_NONE: dict[Any, None] = {}
"""In place of tables that most never fill; nothing is put into it."""


class SharedQuery:
    """One query of one dealer, for everybody who asks for it: evaluated once per row."""

    __slots__ = ("handle", "item", "item_sets", "items", "key", "shares", "test")

    def __init__(self, key: str, test: Callable[[Any], bool]) -> None:
        self.key = key
        self.test = test
        self.shares = 0
        """How often it is held; its dealer forgets it at none."""
        self.items: dict[SubscriptionItem, None] = _NONE
        self.item_sets: dict[ItemSet, None] = _NONE
        """The sets of classic subscriptions that hold an item with this query."""
        self.handle: Any = None
        """Its place in the index of its dealer, where that has one."""
        self.item: Item | None = None
        """The same query as pages of the new wire hold it, while they do."""

    def matches(self, row: Any) -> bool:
        return self.test(row)

    def add(self, item: SubscriptionItem) -> None:
        if self.items is _NONE:
            self.items = {}
        self.items[item] = None

    def join(self, item_set: ItemSet) -> None:
        if self.item_sets is _NONE:
            self.item_sets = {}
        self.item_sets[item_set] = None


class KeptRow:
    """A row as JSON, whole; what dealers with ``fields`` show of it is made when it is told."""

    __slots__ = ("_narrowed", "text")

    def __init__(self, row: Row) -> None:
        self.text = msgspec.Raw(encode(row))
        self._narrowed: dict[frozenset[str], msgspec.Raw] | None = None

    def __len__(self) -> int:
        return memoryview(self.text).nbytes

    def narrowed(self, fields: frozenset[str] | None) -> msgspec.Raw:
        if fields is None:
            return self.text
        if self._narrowed is None:
            self._narrowed = {}
        narrowed = self._narrowed.get(fields)
        if narrowed is None:
            row = decode(bytes(self.text))
            text = encode({name: value for name, value in row.items() if name in fields})
            narrowed = self._narrowed[fields] = msgspec.Raw(text)
        return narrowed


class Place(NamedTuple):
    """Which row: its model, and its key as JSON."""

    model: str
    key: msgspec.Raw
    identity: Any
    """Equal for equal keys of the model."""


class Note(NamedTuple):
    """What an entry did to one row in one item. ``row`` is None where the item lost it."""

    seq: int
    place: Place
    row: KeptRow | None


class Item:
    """One query of one dealer as pages hold it: the same, with the same id, for all of them.

    There may be as many as there are subscriptions: what most of them do not need is made when
    it is needed.
    """

    __slots__ = (
        "_crowds",
        "_query",
        "_text",
        "alone",
        "dealer",
        "dealer_name",
        "fields",
        "handle",
        "holders",
        "id",
        "key",
        "known_from",
        "models",
        "notes",
        "refetches",
        "subscriptions",
        "touched",
    )

    def __init__(
        self,
        id: int,  # noqa: A002
        dealer: Any,
        dealer_name: str,
        query: Any,
        key: str,
        models: frozenset[str],
        fields: frozenset[str] | None,
        *,
        refetches: bool,
        known_from: int,
    ) -> None:
        self.id = id
        self.dealer = dealer
        self.dealer_name = dealer_name
        text = encode(query)
        # Mostly the key is the same text: then it is not kept twice.
        self._text = None if text == key.encode("utf-8", "surrogatepass") else text
        self._query = query if refetches else None  # asked for with every delta
        self.key = key
        self.models = models
        self.fields = fields
        """The names that its dealer shows of a row; None: all."""
        self.refetches = refetches
        """Its pages are told that it changed, not how."""
        self.handle: Any = None
        """What its dealer holds: a SharedQuery, or a SubscriptionItem."""
        self.known_from = known_from
        """Its notes are complete for every entry after this one."""
        self.notes: deque[Note] | tuple[()] = ()
        self.touched = 0
        """Of a refetching one: the newest entry that touched it."""
        self._crowds: Crowd | dict[Crowd, None] | None = None
        self.alone: tuple[Item, ...] = ()
        """Itself, for all who subscribe to nothing else. Empty once nobody can."""
        self.subscriptions = 0
        """How many hold it, over all pages."""
        self.holders: dict[Any, None] | None = {} if refetches else None
        """Of a refetching one: those subscriptions."""

    @property
    def query(self) -> Any:
        return self._query if self.refetches else hashable(decode(self._query_text))

    @property
    def text(self) -> bytes:
        """Dealer and query as JSON, as tokens say them."""
        return b"[%b,%b]" % (encode(self.dealer_name), self._query_text)

    @property
    def _query_text(self) -> bytes:
        return self.key.encode() if self._text is None else self._text

    # Crowds: mostly one

    @property
    def crowds(self) -> Iterable[Crowd]:
        crowds = self._crowds
        if crowds is None:
            return ()
        return crowds if type(crowds) is dict else (crowds,)  # type: ignore[return-value]

    def join(self, crowd: Crowd) -> None:
        crowds = self._crowds
        if crowds is None:
            self._crowds = crowd
        elif isinstance(crowds, dict):
            crowds[crowd] = None
        else:
            self._crowds = {crowds: None, crowd: None}

    def leave(self, crowd: Crowd) -> None:
        crowds = self._crowds
        if crowds is crowd:
            self._crowds = None
        elif isinstance(crowds, dict):
            crowds.pop(crowd, None)
            if len(crowds) == 1:
                (self._crowds,) = crowds

    # Notes

    def note(self, seq: int, place: Place, row: KeptRow | None) -> int:
        """Note a change; returns what that costs, in bytes."""
        self._notes.append(Note(seq, place, row))
        return NOTE_BYTES

    def prepend(self, notes: Sequence[Note], known_from: int) -> None:
        """Add what a scan found of entries up to ``self.known_from``, oldest first."""
        if notes:
            self._notes.extendleft(reversed(notes))
        self.known_from = min(self.known_from, known_from)

    @property
    def _notes(self) -> deque[Note]:
        if not self.notes:
            self.notes = deque()
        return self.notes

    def forget(self, seq: int) -> None:
        """Entries up to this one are kept no longer."""
        notes = self.notes
        while notes and notes[0].seq <= seq:
            notes.popleft()
        if not notes:
            self.notes = ()
        self.known_from = max(self.known_from, seq)

    def forget_all(self, known_from: int) -> None:
        """Another log: nothing of the one before counts."""
        self.notes = ()
        self.touched = 0
        self.known_from = known_from

    def since(self, seq: int) -> list[Note]:
        """The newest note of each row that an entry after ``seq`` changed, newest first."""
        newest: dict[tuple[str, Any], Note] = {}
        for note in reversed(self.notes):
            if note.seq <= seq:
                break
            place = note.place
            newest.setdefault((place.model, place.identity), note)
        return list(newest.values())


class Items:
    """The items of a service, by dealer and key of the query."""

    def __init__(self) -> None:
        self._by_dealer: dict[str, dict[str, Item]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for items in self._by_dealer.values():
            yield from items.values()

    def get(self, dealer_name: str, key: str) -> Item | None:
        return self._by_dealer.get(dealer_name, {}).get(key)

    def add(self, item: Item) -> None:
        self._by_dealer.setdefault(item.dealer_name, {})[item.key] = item
        self._count += 1

    def remove(self, item: Item) -> None:
        items = self._by_dealer[item.dealer_name]
        del items[item.key]
        self._count -= 1
        if not items:
            del self._by_dealer[item.dealer_name]


class Crowd(Audience):
    """Connections that hold the same whole set of items, and so hear the same."""

    __slots__ = ("items", "last_seq")

    def __init__(self, items: ItemsOfPage, last_seq: int) -> None:
        super().__init__()
        self.items = items
        self.last_seq = last_seq
        """The entry of the newest frame that all of it got, or a later one."""
        for item in items:
            item.join(self)

    def close(self) -> None:
        for item in self.items:
            item.leave(self)


ItemsOfPage = frozenset[Item] | tuple[Item, ...]
"""Those that a page holds: a set, or of one alone what all share who hold it alone."""


class ItemSet:
    """Classic subscriptions that ask for exactly the same, and so hear exactly the same.

    One that is not ``shared`` belongs to a single subscription, at least one of whose items is
    with a dealer that speaks to subscriptions one by one.
    """

    __slots__ = (
        "_audience_of",
        "_audiences",
        "_waiting",
        "keep",
        "queries",
        "service_name",
        "shared",
    )

    def __init__(
        self,
        service_name: str,
        queries: frozenset[SharedQuery],
        keep: Callable[[Subscription, Envelope], None],
        *,
        shared: bool,
    ) -> None:
        self.service_name = service_name
        self.queries = queries
        self.keep = keep
        """Called with what a subscription that nobody has acquired yet would have heard."""
        self.shared = shared
        # One is enough unless a client holds several of these subscriptions: it is in as many
        # audiences as it has to hear things.
        self._audiences: list[Audience] = []
        self._audience_of: dict[Subscription, Audience] = {}
        self._waiting: dict[Subscription, None] = {}
        for query in queries:
            query.join(self)

    def add(self, subscription: Subscription) -> None:
        """Let a subscription that nobody has acquired yet hear what is sent from now on."""
        self._waiting[subscription] = None

    def acquired(self, subscription: Subscription) -> None:
        """The subscription has got its client."""
        self._waiting.pop(subscription, None)
        for audience in self._audiences:
            if subscription.client not in audience:
                break
        else:
            audience = Audience()
            self._audiences.append(audience)
        audience.add(subscription.client)
        self._audience_of[subscription] = audience

    def remove(self, subscription: Subscription) -> None:
        self._waiting.pop(subscription, None)
        audience = self._audience_of.pop(subscription, None)
        if audience is not None:
            audience.remove(subscription.client)
            if not audience:
                self._audiences.remove(audience)

    def close_if_empty(self) -> bool:
        """Leave the queries once no subscription is left. Returns whether that is so."""
        if self._audiences or self._waiting:
            return False
        for query in self.queries:
            query.item_sets.pop(self, None)
        return True

    def send(self, envelope: Envelope) -> None:
        # Copies: a subscription that keeps too much ends, and what a user's own client does in
        # send is unknown.
        for audience in tuple(self._audiences):
            audience.send(envelope)
        for subscription in tuple(self._waiting):
            self.keep(subscription, envelope)
