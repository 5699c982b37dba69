"""Dealers: which subscriptions hear of a change in a row.

A dealer is asked for by name when a subscription is authorised, and hears of every delta of its
model. It knows rows and queries; who is told how is not its business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, ClassVar, cast

from snorky.deltas import Delta, Row, parse_delta
from snorky.filters import BadQuery, Explanation, Filter, FilterIndex, filter_matches
from snorky.log import snorky_log
from snorky.services.datasync.items import SharedQuery
from snorky.services.datasync.subscription import SubscriptionItem
from snorky.services.datasync.unknown_fields import UnknownFields
from snorky.wire import canonical

__all__ = [
    "BadQuery",
    "BroadcastDealer",
    "Dealer",
    "FilterDealer",
    "RefetchDealer",
    "SimpleDealer",
    "filter_matches",
]


RowTest = Callable[[Any], bool]

SLOW_SECONDS = 0.1
"""A dealer of a user's own that takes as long for one row is named in the log."""

WARNED_EVERY_SECONDS = 60.0


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

    key: str | tuple[str, ...] = "id"
    """The field, or the fields, that tell a row from the others of its model. All dealers of a
    model say the same."""

    fields: Sequence[str] | None = None
    """The fields that pages of the new wire are shown; the key's are always among them. None: all.
    An update that changes none of them is not told. Classic subscriptions hear whole rows."""

    types: ClassVar[dict[str, type]] = {}
    """Fields that are not what their JSON is: ``{"price": Decimal, "due": datetime}``. Filters
    compare them as such: Decimal, datetime, date, time or UUID."""

    _next_warning = float("-inf")

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
            return dict.fromkeys(self.ask(row))
        except Exception:
            self.log_failure()
            return {}

    def ask(self, row: Row) -> list[SubscriptionItem]:
        """``get_subscription_items_for_model``, with a warning where it holds up the others."""
        begun = monotonic()
        found = list(self.get_subscription_items_for_model(row))
        ended = monotonic()
        if ended - begun >= SLOW_SECONDS and ended >= self._next_warning:
            self._next_warning = ended + WARNED_EVERY_SECONDS
            snorky_log.warning(
                'Dealer "%s" took %d ms for one row of model "%s", and all clients waited: keep '
                "what it needs in memory, or make it a FilterDealer",
                self.name,
                (ended - begun) * 1000,
                self.model,
            )
        return found

    def log_failure(self) -> None:
        """Log the exception being handled: this dealer could not match a row."""
        snorky_log.exception(
            'Dealer "%s" failed on a row of model "%s": it matches nobody there',
            self.name,
            self.model,
        )


class SharingDealer(Dealer):
    """A dealer whose items with equal queries share one entry.

    Its matches are told to whole item sets at once, unless a subclass overrides the methods that
    speak of single items; such a subclass works as any dealer of a user's own.
    """

    shares_queries: ClassVar[bool] = True
    """Whether matches are queries; else they are items, as the methods of Dealer say them."""

    hears_of_items: ClassVar[bool] = False
    """Whether it is told of every item that is authorised, because it listens to that."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.shares_queries = (
            cls.deliver_delta is SharingDealer.deliver_delta
            and cls.get_subscription_items_for_model
            is SharingDealer.get_subscription_items_for_model
        )
        cls.hears_of_items = not (
            cls.shares_queries
            and cls.add_subscription_item is SharingDealer.add_subscription_item
            and cls.remove_subscription_item is SharingDealer.remove_subscription_item
        )

    def __init__(self) -> None:
        self._queries: dict[str, SharedQuery] = {}
        self._query_by_item: dict[SubscriptionItem, SharedQuery] = {}

    def add_subscription_item(self, item: SubscriptionItem) -> None:
        query = self.share(item.query)
        query.add(item)
        self._query_by_item[item] = query

    def remove_subscription_item(self, item: SubscriptionItem) -> None:
        query = self._query_by_item.pop(item)
        del query.items[item]
        self.unshare(query)

    def get_subscription_items_for_model(self, model: Row) -> Iterable[SubscriptionItem]:
        return [item for query in self.get_matching_queries(model) for item in query.items]

    def get_matching_queries(self, row: Row) -> list[SharedQuery]:
        """The queries that match a row, each once."""
        return [query for query in self._queries.values() if query.matches(row)]

    def get_shared_query(self, item: SubscriptionItem) -> SharedQuery | None:
        """The entry of an item; None where this dealer speaks of single items."""
        return self._query_by_item.get(item) if self.shares_queries else None

    def share(self, query: Any, key: str | None = None) -> SharedQuery:
        """The entry of a query, made at its first use; each call is undone by ``unshare``.

        ``key``: what ``get_key`` said, where that is known. Raises BadQuery.
        """
        if key is None:
            key = self.get_key(query)
        shared = self._queries.get(key)
        if shared is None:
            shared = self._queries[key] = self._make(key, query)
        shared.shares += 1
        return shared

    def unshare(self, shared: SharedQuery) -> None:
        shared.shares -= 1
        if not shared.shares:
            self._drop(shared)

    def check(self, query: Any) -> None:
        """Raise BadQuery where the query is none, or one too many; nothing is kept."""
        self.unshare(self.share(query))

    def get_key(self, query: Any) -> str:
        """Equal for queries that match the same rows. Raises BadQuery."""
        return self._get_key(query)

    def _make(self, key: str, query: Any) -> SharedQuery:
        return SharedQuery(key, self._compile(query))

    def _drop(self, shared: SharedQuery) -> None:
        del self._queries[shared.key]

    def _get_key(self, query: Any) -> str:
        return canonical_query(query)

    def _compile(self, query: Any) -> RowTest:
        """The query as a function of a row. Raises BadQuery."""
        return _matches_every_row


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

    def _compile(self, query: Any) -> RowTest:
        key = self._get_key(query)
        return lambda row: self._get_key(self.get_key_for_model(row)) == key


class FilterQuery(SharedQuery):
    """A filter, tested by the index that holds it.

    Not by a function of its own: with a million filters that would be most of the memory.
    """

    __slots__ = ("_index",)

    def __init__(self, key: str, index: FilterIndex[SharedQuery]) -> None:
        super().__init__(key, _matches_every_row)
        self._index = index

    def matches(self, row: Any) -> bool:
        return self._index.matches(self.handle, row)


class FilterDealer(SharingDealer):
    """A subscription's query is a filter, e.g. ``["==", "color", "blue"]``."""

    max_unindexed: ClassVar[int] = 1_000
    """Different filters that have nothing by which a row could find them (``!=``, ``not`` and
    ``isnull`` alone) and so are checked for every row. One more is refused with BadQuery."""

    def __init__(self) -> None:
        super().__init__()
        self.index: FilterIndex[SharedQuery] = FilterIndex(self.types, self.max_unindexed)
        self._parsed: Filter | None = None
        self._unknown_fields = UnknownFields()

    def get_matching_queries(self, row: Row) -> list[SharedQuery]:
        if self._unknown_fields.not_seen:
            self._unknown_fields.look_in(row, self.name, self.model)
        return self.index.match(row)

    def explain(self, delta: Delta | Mapping[str, Any]) -> Explanation:
        """How the index finds who is told of a delta (or of its JSON): how many filters are
        checked, and match. Raises BadDelta."""
        parsed = delta if isinstance(delta, Delta) else parse_delta(dict(delta))
        if parsed.after is None:
            return self.index.explain(parsed.before or {})
        return self.index.explain(parsed.after, parsed.before)

    def _make(self, key: str, query: Any) -> SharedQuery:
        shared = FilterQuery(key, self.index)
        parsed = self._parsed  # the last one: mostly that whose key was asked for
        if parsed is None or parsed.text != key:
            parsed = self.index.parse(query)
        shared.handle = self.index.add(parsed, shared)
        self._unknown_fields.note(parsed)
        return shared

    def _drop(self, shared: SharedQuery) -> None:
        super()._drop(shared)
        self.index.remove(shared.handle)

    def _get_key(self, query: Any) -> str:
        self._parsed = parsed = self.index.parse(query)
        return parsed.text


class RefetchDealer(SharingDealer):
    """Any query of the application's own over ``models``: pages hear that it changed, not how.

    A touched page asks the application's own view again. ``matches`` may say which rows matter to
    a query; without it every change of the models does. For pages of the new wire alone.
    """

    models: Sequence[str] = ()
    model = ""

    def get_models(self, query: Any) -> Sequence[str]:
        """The models whose changes touch a query. Raises BadQuery."""
        return self.models

    def matches(self, row: Row, query: Any) -> bool:
        """Whether a row that came, changed (old or new) or went matters to a query."""
        return True

    def get_matching_queries(self, row: Row) -> list[SharedQuery]:
        return []  # classic subscriptions hear of rows, and these tell none


class AnyRefetchDealer(RefetchDealer):
    """The one that every service has: its query names the models, ``{"models": [...]}``."""

    name = "refetch"

    def get_models(self, query: Any) -> Sequence[str]:
        models = query.get("models") if isinstance(query, dict) else None
        if (
            not isinstance(models, list)
            or not 0 < len(models) <= MAX_REFETCH_MODELS
            or not all(isinstance(model, str) for model in models)
        ):
            raise BadQuery(
                'expected {"models": [...]} with the names of 1 to '
                f"{MAX_REFETCH_MODELS} models; got {canonical_query(query)[:100]}"
            )
        return models


MAX_REFETCH_MODELS = 100
"""Models in a query of the dealer "refetch"."""


def canonical_query(query: Any) -> str:
    """Equal for queries that are equal as JSON. Raises BadQuery."""
    try:
        return canonical(query)
    except (TypeError, ValueError) as error:
        raise BadQuery(f"expected a JSON value: {error}") from error


def _matches_every_row(row: Row) -> bool:
    return True
