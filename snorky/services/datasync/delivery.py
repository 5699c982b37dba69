"""Who hears of a delta: subscriptions that ask for the same, and one delta on its way to them.

Nothing here runs once per subscriber. Subscriptions with the same items form an item set; dealers
say which item sets a delta matches; each item set is told once, through its audience.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snorky.audience import Audience
from snorky.deltas import Delta, Row
from snorky.log import snorky_log
from snorky.services.datasync.dealers import Dealer, SharedQuery, SharingDealer
from snorky.services.datasync.subscription import delta_envelope

if TYPE_CHECKING:
    from snorky.services.datasync.subscription import Subscription
    from snorky.wire import Envelope


class ItemSet:
    """Subscriptions that ask for exactly the same, and so hear exactly the same.

    One that is not ``shared`` belongs to a single subscription, at least one of whose items is
    with a dealer that speaks to subscriptions one by one.
    """

    __slots__ = ("_audiences", "_waiting", "queries", "service_name", "shared")

    def __init__(self, service_name: str, queries: frozenset[SharedQuery], *, shared: bool) -> None:
        self.service_name = service_name
        self.queries = queries
        self.shared = shared
        # One is enough unless a client holds several of these subscriptions: it is in as many
        # audiences as it has to hear things.
        self._audiences: list[Audience] = []
        self._waiting: dict[Subscription, None] = {}
        for query in queries:
            query.item_sets[self] = None

    def add(self, subscription: Subscription) -> None:
        """Let a subscription that nobody has acquired yet hear what is sent from now on."""
        self._waiting[subscription] = None
        subscription.item_set = self

    def acquired(self, subscription: Subscription) -> None:
        """The subscription has got its client."""
        del self._waiting[subscription]
        for audience in self._audiences:
            if subscription.client not in audience:
                break
        else:
            audience = Audience()
            self._audiences.append(audience)
        audience.add(subscription.client)
        subscription.audience = audience

    def remove(self, subscription: Subscription) -> None:
        subscription.item_set = None
        self._waiting.pop(subscription, None)
        audience, subscription.audience = subscription.audience, None
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
            subscription.send(envelope)


class Publication:
    """One delta on its way: which item sets match the row before, and which the row after."""

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
            snorky_log.exception(
                'Dealer "%s" failed to deliver a delta of model "%s"', dealer.name, dealer.model
            )

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
