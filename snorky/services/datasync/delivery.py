"""Who hears of a change: of a delta as it was published, and of an entry as pages see it.

Nothing here runs once per subscriber. Dealers say which shared queries match; each set of classic
subscriptions is told once, and each crowd of connections gets one frame for an entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any

from snorky.deltas import Delta, Row
from snorky.envelope import Envelope
from snorky.log import snorky_log
from snorky.services.datasync.dealers import Dealer, RefetchDealer, SharingDealer
from snorky.services.datasync.directory import Directory, refetches
from snorky.services.datasync.folding import Change
from snorky.services.datasync.items import Crowd, Item, ItemSet, Note, Place
from snorky.services.datasync.subscription import SubscriptionItem


def delta_envelope(service_name: str, delta: Delta) -> Envelope:
    return Envelope(service_name, {"type": "delta", "delta": delta.for_json()})


class Publication:
    """One delta on its way to classic subscriptions: which match the row before, which after."""

    __slots__ = ("_after", "_before", "_delta", "_others")

    def __init__(self, delta: Delta) -> None:
        self._delta = delta
        self._before: dict[ItemSet, None] = {}
        self._after: dict[ItemSet, None] = {}
        # What dealers that override deliver_delta made up themselves.
        self._others: dict[ItemSet, list[Delta]] = {}

    def ask(self, dealer: Dealer) -> None:
        """Let a dealer say who matches. One that fails is logged and matches nobody there."""
        if isinstance(dealer, SharingDealer) and dealer.shares_queries:
            _match(dealer, self._delta.before, self._before)
            _match(dealer, self._delta.after, self._after)
            return
        try:
            dealer.deliver_delta(self._delta)
        except Exception:
            _log_delivery(dealer)

    def tell(self, item_set: ItemSet, delta: Delta) -> None:
        """A dealer of a user's own delivers ``delta`` to the one subscription of an item set.

        The published delta, seen as one of its three kinds, says which of the two rows matched.
        Any other delta goes out as it is, once.
        """
        published = self._delta
        if delta in (published, published.seen_by(False, True), published.seen_by(True, False)):
            if delta.before is not None:
                self._before[item_set] = None
            if delta.after is not None:
                self._after[item_set] = None
        else:
            others = self._others.setdefault(item_set, [])
            if delta not in others:
                others.append(delta)

    def send(self) -> None:
        """Tell each item set that matched, once: this is where the union over its items is made."""
        envelopes: dict[Any, Envelope] = {}
        for item_set in self._before | self._after:
            matched = (item_set in self._before, item_set in self._after)
            envelope = envelopes.get((item_set.service_name, matched))
            if envelope is None:
                envelope = delta_envelope(item_set.service_name, self._delta.seen_by(*matched))
                envelopes[item_set.service_name, matched] = envelope
            item_set.send(envelope)
        for item_set, deltas in self._others.items():
            for delta in deltas:
                item_set.send(delta_envelope(item_set.service_name, delta))


def _match(dealer: SharingDealer, row: Row | None, matched: dict[ItemSet, None]) -> None:
    if row is None:
        return
    try:
        queries = dealer.get_matching_queries(row)
    except Exception:
        dealer.log_failure()
        return
    for query in queries:
        matched.update(query.item_sets)


def _log_delivery(dealer: Dealer) -> None:
    snorky_log.exception(
        'Dealer "%s" failed to deliver a delta of model "%s"', dealer.name, dealer.model
    )


# The new wire


class Representative:
    """Stands for all pages before a dealer of a user's own: the subscription of a shared item."""

    token = ""

    def __init__(self, item: SubscriptionItem, service: Any) -> None:
        self.items = [item]
        self.service = service

    @property
    def client(self) -> Any:
        raise RuntimeError(
            "expected a dealer that matches by rows and queries: items are shared by pages, "
            "so there is no client to look at"
        )

    def deliver_delta(self, delta: Delta) -> None:
        """Pages hear by what the dealer matches."""


class Failed(Exception):
    """A dealer could not match a row: what its pages show cannot be promised."""


class Touches:
    """What an entry does to items: for each the rows that are in it now, and those that left."""

    def __init__(self) -> None:
        self.by_item: dict[Item, list[tuple[int, Change, bool]]] = {}
        self.failed: dict[Dealer, None] = {}

    def add(
        self,
        number: int,
        change: Change,
        dealer: Dealer,
        within: Callable[[Dealer, Row], Iterable[Item]],
        *,
        several: bool,
    ) -> None:
        """Ask a dealer for the ``number``-th change of the entry.

        ``several``: the entry may hold several transactions, so that rows between count.
        """
        if change.is_nothing(several=several):
            return
        try:
            new, others = _sides(dealer, change, within, several=several)
        except Failed:
            self.failed[dealer] = None
            return
        for item in new:
            if item not in others or change.shows_in(item.fields, several=several):
                self.by_item.setdefault(item, []).append((number, change, True))
        for item in others:
            if item not in new:
                self.by_item.setdefault(item, []).append((number, change, False))

    def note(self, seq: int) -> int:
        """Note them beside their items; returns what that costs, in bytes."""
        cost, kept = 0, set()
        for item, touched in self.by_item.items():
            for _, change, is_in in touched:
                cost += item.note(seq, change.place, change.kept if is_in else None)
                if is_in and id(change) not in kept:
                    kept.add(id(change))
                    cost += len(change.kept)
        return cost

    def notes(self, seq: int, wanted: Iterable[Item]) -> Iterator[tuple[Item, Note]]:
        for item in wanted:
            for _, change, is_in in self.by_item.get(item, ()):
                yield item, Note(seq, change.place, change.kept if is_in else None)

    def crowds(self) -> dict[Crowd, list[Item]]:
        """The crowds that hold a touched item, each with those of theirs."""
        crowds: dict[Crowd, list[Item]] = {}
        for item in self.by_item:
            for crowd in item.crowds:
                crowds.setdefault(crowd, []).append(item)
        return crowds

    def changes(self, items: Iterable[Item]) -> list[dict[str, Any]]:
        """The changes as those see them who hold these of the touched items.

        Items whose dealers show different fields of a row get a change each.
        """
        told: dict[Any, tuple[int, Change, list[Item], list[Item]]] = {}
        for item in items:
            for number, change, is_in in self.by_item[item]:
                entry = told.get((number, item.fields))
                if entry is None:
                    entry = told[number, item.fields] = (number, change, [], [])
                (entry[2] if is_in else entry[3]).append(item)
        return [
            change_json(change.place, change.kept if ins else None, ins, outs)
            for _, change, ins, outs in sorted(told.values(), key=itemgetter(0))
        ]


def change_json(place: Place, row: Any, ins: list[Item], outs: list[Item]) -> dict[str, Any]:
    """``row``: the KeptRow, where the items of ``ins``, which show the same fields, have it."""
    return {
        "model": place.model,
        "key": place.key,
        "data": row.narrowed(ins[0].fields) if ins else None,
        "in": _ids(ins),
        "out": _ids(outs),
    }


def _ids(items: list[Item]) -> list[int]:
    return sorted([item.id for item in items]) if len(items) > 1 else [each.id for each in items]


def _sides(
    dealer: Dealer,
    change: Change,
    within: Callable[[Dealer, Row], Iterable[Item]],
    *,
    several: bool,
) -> tuple[set[Item], set[Item]]:
    """The items that the row matches now, and those that it matched before (or between)."""
    new = set() if change.new is None else set(within(dealer, change.new))
    others = set() if change.old is None else set(within(dealer, change.old))
    if several:
        for row in change.between:
            others.update(() if row is None else within(dealer, row))
    return new, others


class Matching:
    """The shared items of a service, as its dealers match them."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._representatives: dict[SubscriptionItem, Item] = {}
        self._items_by_dealer: dict[Dealer, int] = {}
        self._refetching: dict[str, dict[Item, Dealer]] = {}

    def enter(self, dealer: Dealer, item: Item, query: Any, service: Any) -> None:
        """Let an item be matched from now on. Raises BadQuery, and what a user's dealer raises."""
        if isinstance(dealer, SharingDealer) and not dealer.hears_of_items:
            shared = dealer.share(query, item.key)
            shared.item, item.handle = item, shared
        else:
            representative = SubscriptionItem(dealer.name, query)
            representative.subscription = Representative(representative, service)  # type: ignore[assignment]  # what dealers use of one
            dealer.add_subscription_item(representative)
            item.handle = representative
            self._representatives[representative] = item
            if isinstance(dealer, SharingDealer):
                known = dealer.get_shared_query(representative)
                if known is not None:
                    known.item = item
        self._items_by_dealer[dealer] = self._items_by_dealer.get(dealer, 0) + 1
        if item.refetches:
            for model in item.models:
                self._refetching.setdefault(model, {})[item] = dealer

    def leave(self, dealer: Dealer, item: Item) -> None:
        if isinstance(item.handle, SubscriptionItem):
            del self._representatives[item.handle]
            if isinstance(dealer, SharingDealer):
                shared = dealer.get_shared_query(item.handle)
                if shared is not None:
                    shared.item = None
            try:
                dealer.remove_subscription_item(item.handle)
            except Exception:
                snorky_log.exception('Dealer "%s" failed to remove an item', dealer.name)
        else:
            assert isinstance(dealer, SharingDealer)
            item.handle.item = None
            dealer.unshare(item.handle)
        self._items_by_dealer[dealer] -= 1
        if not self._items_by_dealer[dealer]:
            del self._items_by_dealer[dealer]
        for model in item.models if item.refetches else ():
            del self._refetching[model][item]
            if not self._refetching[model]:
                del self._refetching[model]

    def dealers_of(self, model: str) -> list[Dealer]:
        """The dealers of a model that hold items, those that were unregistered excepted."""
        return [
            dealer
            for dealer in self._directory.by_model.get(model, ())
            if dealer in self._items_by_dealer and not refetches(dealer)
        ]

    def items_matching(self, dealer: Dealer, row: Row) -> Iterable[Item]:
        """The items of a dealer that a row matches. Raises Failed, after logging why."""
        try:
            if isinstance(dealer, SharingDealer) and dealer.shares_queries:
                queries = dealer.get_matching_queries(row)
                return [query.item for query in queries if query.item is not None]
            representatives = self._representatives
            return [representatives[item] for item in dealer.ask(row) if item in representatives]
        except Exception as error:
            dealer.log_failure()
            raise Failed from error

    def refetching(self, delta: Delta) -> Iterator[Item]:
        """The items whose pages must fetch again for a delta."""
        items = self._refetching.get(delta.model)
        if not items:
            return
        rows = [row for row in (delta.before, delta.after) if row is not None]
        for item, dealer in items.items():
            try:
                if not isinstance(dealer, RefetchDealer) or any(
                    dealer.matches(row, item.query) for row in rows
                ):
                    yield item
            except Exception:
                snorky_log.exception(
                    'Dealer "%s" failed on a row of model "%s": its pages fetch again',
                    dealer.name,
                    delta.model,
                )
                yield item
