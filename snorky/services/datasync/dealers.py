"""Dealers: which subscriptions hear of a change in a row.

A dealer is asked for by name when a subscription is authorised, and hears of every delta of its
model. It knows rows and queries; who is told how is not its business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, cast

from snorky.filters import BadQuery, FilterIndex, Handle, filter_matches
from snorky.log import snorky_log
from snorky.services.datasync.delta import Delta, Row
from snorky.services.datasync.subscription import SubscriptionItem
from snorky.wire import canonical

if TYPE_CHECKING:
    from snorky.services.datasync.delivery import ItemSet

__all__ = [
    "BadQuery",
    "BroadcastDealer",
    "Dealer",
    "FilterDealer",
    "SimpleDealer",
    "filter_matches",
]


class _ClassName:
    """The name of the class it is read from. Not a property: classes and instances override it."""

    def __get__(self, instance: object, owner: type) -> str:
        return owner.__name__


class Dealer(ABC):
    """Holds the subscription items of one model and finds those that match a row.

    Subclasses set ``model`` and implement the three abstract methods.
    """

    # A cast, so that subclasses can say `name = "..."`.
    name: str = cast("str", _ClassName())
    """The name that authorisations ask for; the class name unless it is set."""

    model: str
    """The model whose deltas this dealer hears of."""

    @abstractmethod
    def add_subscription_item(self, item: SubscriptionItem) -> None:
        """``item`` was authorised. Raise BadQuery to refuse it: the text is the caller's answer.

        Called once per item, before the web application gets the token.
        """

    @abstractmethod
    def remove_subscription_item(self, item: SubscriptionItem) -> None:
        """``item`` was cancelled, expired, or its client left. Called once per added item."""

    @abstractmethod
    def get_subscription_items_for_model(self, model: Row) -> Iterable[SubscriptionItem]:
        """The items that match a row. Of an update it is asked first the old row, then the new."""

    def deliver_delta(self, delta: Delta) -> None:
        """Tell the subscriptions that match, each as it sees the change.

        An update that leads into a query is an insertion there, one that leads out a deletion.
        """
        before = self._items_matching(delta.before)
        after = self._items_matching(delta.after)
        for item in before | after:
            item.subscription.deliver_delta(delta.seen_by(item in before, item in after))

    def _items_matching(self, row: Row | None) -> dict[SubscriptionItem, None]:
        if row is None:
            return {}
        try:
            return dict.fromkeys(self.get_subscription_items_for_model(row))
        except Exception:
            self.log_failure()
            return {}

    def log_failure(self) -> None:
        """Log the exception being handled: this dealer could not match a row."""
        snorky_log.exception(
            'Dealer "%s" failed on a row of model "%s": it matches nobody there',
            self.name,
            self.model,
        )


class SharedQuery:
    """One query of one dealer, for everybody who asks for it: evaluated once per row."""

    __slots__ = ("handle", "item_sets", "items", "key")

    def __init__(self, key: str) -> None:
        self.key = key
        self.handle: Handle[SharedQuery] | None = None
        """Its place in the dealer's index, where that has one."""
        self.items: dict[SubscriptionItem, None] = {}
        self.item_sets: dict[ItemSet, None] = {}
        """The sets of subscriptions that hold an item with this query; kept by the service."""


class SharingDealer(Dealer):
    """A dealer whose items with equal queries share one entry.

    Its matches are told to whole item sets at once, unless a subclass overrides the methods that
    speak of single items; such a subclass works as any dealer of a user's own.
    """

    shares_queries: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.shares_queries = (
            cls.deliver_delta is SharingDealer.deliver_delta
            and cls.get_subscription_items_for_model
            is SharingDealer.get_subscription_items_for_model
        )

    def __init__(self) -> None:
        self._queries: dict[str, SharedQuery] = {}
        self._query_by_item: dict[SubscriptionItem, SharedQuery] = {}

    def add_subscription_item(self, item: SubscriptionItem) -> None:
        key = self._get_key(item.query)
        query = self._queries.get(key)
        if query is None:
            query = SharedQuery(key)
            self._file(query, item.query)
            self._queries[key] = query
        query.items[item] = None
        self._query_by_item[item] = query

    def remove_subscription_item(self, item: SubscriptionItem) -> None:
        query = self._query_by_item.pop(item)
        del query.items[item]
        if not query.items:
            del self._queries[query.key]
            self._unfile(query)

    def get_subscription_items_for_model(self, model: Row) -> Iterable[SubscriptionItem]:
        return [item for query in self.get_matching_queries(model) for item in query.items]

    def get_matching_queries(self, row: Row) -> list[SharedQuery]:
        """The queries that match a row, each once."""
        return list(self._queries.values())

    def get_shared_query(self, item: SubscriptionItem) -> SharedQuery | None:
        """The entry of an item; None where this dealer speaks of single items."""
        return self._query_by_item.get(item) if self.shares_queries else None

    def _get_key(self, query: Any) -> str:
        """Equal for queries that match the same rows. Raises BadQuery."""
        try:
            return canonical(query)
        except (TypeError, ValueError) as error:
            raise BadQuery(f"expected a JSON value: {error}") from error

    def _file(self, query: SharedQuery, asked: Any) -> None:
        """The first subscription asks for this query. Raises BadQuery to refuse it."""

    def _unfile(self, query: SharedQuery) -> None:
        """The last subscription that asked for this query has gone."""


class BroadcastDealer(SharingDealer):
    """Everybody hears of every row; the query says nothing."""

    def _get_key(self, query: Any) -> str:
        return ""


class SimpleDealer(SharingDealer):
    """Rows have a key; a subscription hears of those whose key equals its query."""

    @abstractmethod
    def get_key_for_model(self, model: Row) -> Any:
        """The key of a row: any JSON value, compared with queries as JSON (true is not 1)."""

    def get_matching_queries(self, row: Row) -> list[SharedQuery]:
        query = self._queries.get(self._get_key(self.get_key_for_model(row)))
        return [] if query is None else [query]


class FilterDealer(SharingDealer):
    """A subscription's query is a filter, e.g. ``["==", "color", "blue"]``."""

    types: ClassVar[dict[str, type]] = {}
    """Fields whose text is compared as what it means: Decimal, datetime, date, time or UUID."""

    max_unindexed: ClassVar[int] = 1_000
    """Different filters that have nothing by which a row could find them (``!=``, ``not`` and
    ``isnull`` alone) and so are checked for every row. One more is refused with BadQuery."""

    def __init__(self) -> None:
        super().__init__()
        self.index: FilterIndex[SharedQuery] = FilterIndex(self.types, self.max_unindexed)

    def get_matching_queries(self, row: Row) -> list[SharedQuery]:
        return self.index.match(row)

    def _get_key(self, query: Any) -> str:
        return self.index.parse(query).text

    def _file(self, query: SharedQuery, asked: Any) -> None:
        query.handle = self.index.add(asked, query)

    def _unfile(self, query: SharedQuery) -> None:
        assert query.handle is not None
        self.index.remove(query.handle)
