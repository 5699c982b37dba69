"""Classic subscriptions: authorised, acquired once, told delta by delta.

What dealers of a user's own hear of, and what a token kept for its page, is here. Tokens that need
neither are remembered by nobody until they are acquired: their page then hears what the log kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from snorky.brokers.log import Position, PositionLost
from snorky.client import Peer
from snorky.deltas import Delta, Reset, parse_delta
from snorky.envelope import Envelope
from snorky.limits import Limits
from snorky.log import snorky_log
from snorky.metrics import metrics
from snorky.services.base import RPCError
from snorky.services.datasync.dealers import BadQuery, Dealer, SharingDealer
from snorky.services.datasync.delivery import delta_envelope
from snorky.services.datasync.directory import Directory, models_of, query_key
from snorky.services.datasync.items import ItemSet, SharedQuery
from snorky.services.datasync.log import ChangeLog
from snorky.services.datasync.pages import spread_ms
from snorky.services.datasync.selection import Described, subject_text
from snorky.services.datasync.subscription import Subscription
from snorky.services.datasync.tokens import Tokens

SECONDS_BURNT = 3600.0
"""How long a token that was kept, and has ended, is remembered not to be good any more."""


class Held:
    """What is known of a classic subscription beside what its dealers see."""

    __slots__ = ("acquired", "dealt", "described", "item_set", "origin", "pot", "timeout")

    def __init__(self, origin: str, timeout: Any) -> None:
        self.origin = origin
        self.timeout = timeout
        """Ends the subscription unless it is acquired; anything with ``cancel()``, or None."""
        self.acquired = False
        self.dealt: list[tuple[Dealer, Any]] = []
        """The dealers that hold an item of this subscription, each with its item."""
        self.item_set: ItemSet | None = None
        self.described = Described(None, frozenset(), frozenset())
        self.pot: str | None = None

    def stop_waiting(self) -> None:
        """Once, and not when the time has come: a factory of a user's own may take it ill."""
        if self.timeout is not None:
            self.timeout.cancel()
            self.timeout = None


class Acquisitions:
    """The classic subscriptions of one service, in this process."""

    def __init__(self, name: str, changes: ChangeLog, directory: Directory, tokens: Tokens) -> None:
        self.limits = Limits()
        self._name = name
        self._changes = changes
        self._directory = directory
        self._tokens = tokens
        self._held: dict[Subscription, Held] = {}
        self._by_token: dict[str, Subscription] = {}
        self._by_origin: dict[str, Subscription] = {}
        self._by_client: dict[Any, dict[Subscription, None]] = {}
        self._pots = Pots()
        self._item_sets: dict[frozenset[SharedQuery], ItemSet] = {}

    # Authorised, and waiting for the page

    def hold(self, subscription: Subscription, origin: str, timeout: Any) -> None:
        """Hand the items of a new subscription to their dealers; from now on it keeps its deltas.

        ``timeout`` is what will call ``expire``; acquiring or ending cancels it. Raises RPCError
        where a dealer refuses, and leaves nothing behind then.
        """
        pot = subject_text(subscription.subject)
        if len(self._pots) >= self.limits.max_unacquired_tokens:
            # Who asks for most makes room; it is not refused because of others.
            largest = self._pots.largest
            if self._pots.size(pot) >= self._pots.size(largest):
                raise RPCError("Too many unacquired tokens")
            self.end(self._pots.oldest(largest))
        held = self._deal(subscription, origin, timeout)
        held.pot = pot
        self._pots.add(pot, subscription)

    def expire(self, subscription: Subscription) -> None:
        """Nobody acquired it in time. Does nothing where somebody did."""
        held = self._held.get(subscription)
        if held is not None and not held.acquired:
            metrics.tokens_expired += 1
            held.timeout = None
            self.end(subscription)

    def give_up(self, origin: str) -> None:
        """A page opened the token another way: nothing is kept for it any more."""
        subscription = self._by_origin.get(origin)
        if subscription is not None and not self._held[subscription].acquired:
            self.end(subscription)

    # Acquired

    def find(self, token: str) -> Subscription | None:
        return self._by_token.get(token)

    def is_acquired(self, token: str) -> bool:
        subscription = self._by_token.get(token)
        return subscription is not None and self._held[subscription].acquired

    def check_room(self, client: Peer) -> None:
        """Raises RPCError where the client has as many as it may."""
        if len(self._by_client.get(client, ())) >= self.limits.max_subscriptions:
            raise RPCError("Too many subscriptions")

    def acquire(self, subscription: Subscription, client: Peer) -> None:
        """Deliver what was kept, then every delta that follows."""
        held = self._held[subscription]
        self._pots.remove(held.pot, subscription)
        self._acquired(subscription, held, client)
        for envelope in subscription.take_kept():
            client.send(envelope)

    def catch_up(
        self, subscription: Subscription, origin: str, start: Position, client: Peer
    ) -> Iterator[None]:
        """The same for a token that nobody here remembers: deliver what the log kept since."""
        held = self._deal(subscription, origin, None)
        held.acquired = True  # nothing is kept for it
        try:
            entries = self._changes.log.read(start, self._changes.processed.seq - start.seq)
            envelopes: list[Envelope] = []
            size, reset = 0, False
            limits = self.limits
            for entry in entries:
                yield
                for value in entry.data.get("deltas", ()):
                    delta = parse_delta(value)
                    envelope = self._seen(held, delta)
                    if envelope is not None:
                        envelopes.append(envelope)
                        size += len(envelope.text)
                    elif isinstance(delta, Reset):
                        reset |= delta.model in held.described.models
                if len(envelopes) > limits.max_kept_deltas or size > limits.max_kept_bytes:
                    raise PositionLost("more than may be told")
        except PositionLost:
            self._overflowed(subscription)
            raise RPCError("No such subscription") from None
        if subscription.ended or not getattr(client, "connected", True):
            self.end(subscription)
            return
        self._acquired(subscription, held, client)
        for envelope in (*envelopes, *subscription.take_kept()):
            client.send(envelope)
        if reset:
            yield from self.end_where(lambda described: described is held.described, "reset")

    def _acquired(self, subscription: Subscription, held: Held, client: Peer) -> None:
        self._by_client.setdefault(client, {})[subscription] = None
        metrics.subscriptions += 1
        held.stop_waiting()
        held.acquired = True
        subscription.client = client
        assert held.item_set is not None  # it has not ended
        held.item_set.acquired(subscription)

    def _seen(self, held: Held, delta: Delta) -> Envelope | None:
        """A delta of the past as the subscription sees it."""

        def matches(row: Any) -> bool:
            return row is not None and any(
                dealer.model == delta.model and _matches(dealer, item, row)
                for dealer, item in held.dealt
            )

        before, after = matches(delta.before), matches(delta.after)
        if not (before or after):
            return None
        return delta_envelope(self._name, delta.seen_by(before, after))

    @property
    def described(self) -> list[tuple[str, Described]]:
        """What there is, with its status."""
        return [
            ("acquired" if held.acquired else "waiting", held.described)
            for held in self._held.values()
        ]

    def of(self, client: Peer) -> tuple[Subscription, ...]:
        return tuple(self._by_client.get(client, ()))

    # Ending

    def end(self, subscription: Subscription) -> None:
        """Forget a subscription and its token. Ending it again does nothing."""
        if subscription.ended or subscription not in self._held:
            return
        subscription.ended = True
        held = self._held.pop(subscription)
        held.stop_waiting()
        subscription.take_kept()
        del self._by_token[subscription.token]
        del self._by_origin[held.origin]
        self._pots.remove(held.pot, subscription)
        if not held.acquired:
            self._tokens.burn(held.origin, SECONDS_BURNT)  # dropped where it takes a while
        self._changes.classic_subscriptions -= 1
        if subscription.client is not None:
            metrics.subscriptions -= 1
            subscriptions = self._by_client[subscription.client]
            del subscriptions[subscription]
            if not subscriptions:
                del self._by_client[subscription.client]
        item_set = held.item_set
        assert item_set is not None  # it had not ended
        item_set.remove(subscription)
        if item_set.close_if_empty() and item_set.shared:
            del self._item_sets[item_set.queries]
        _leave_dealers(held)

    def end_where(self, means: Callable[[Described], bool], reason: str) -> Iterator[None]:
        """End those that are meant, and tell their pages to fetch again."""
        meant = [each for each, held in tuple(self._held.items()) if means(held.described)]
        for subscription in meant:
            if subscription.ended:
                continue
            client, token = subscription.client, subscription.token
            self.end(subscription)
            if client is not None:
                message = {
                    "type": "resync",
                    "token": token,
                    "reason": reason,
                    "after_ms": spread_ms(len(meant)),
                }
                client.send(Envelope(self._name, message))
            yield

    def keep(self, subscription: Subscription, envelope: Envelope) -> None:
        """Keep for a subscription what it would have heard; end it where that is too much."""
        count, size = subscription.keep(envelope)
        if count > self.limits.max_kept_deltas or size > self.limits.max_kept_bytes:
            self._overflowed(subscription)

    def _overflowed(self, subscription: Subscription) -> None:
        """More is to be kept than may be: delivering a part would leave a gap that nobody sees."""
        metrics.tokens_overflowed += 1
        snorky_log.warning(
            'Too many deltas for a subscription that nobody has acquired in service "%s" '
            "(dealers: %s): it has ended",
            self._name,
            ", ".join(sorted({item.dealer_name for item in subscription.items})),
        )
        self.end(subscription)

    # Telling

    def tell(self, subscription: Subscription, delta: Delta) -> None:
        """A dealer delivers a delta to a subscription: see ``Subscription.deliver_delta``."""
        held = self._held.get(subscription)
        item_set = None if held is None else held.item_set
        publication = self._changes.publication
        if publication is not None and item_set is not None and not item_set.shared:
            publication.tell(item_set, delta)
        elif not subscription.ended:
            envelope = delta_envelope(self._name, delta)
            if subscription.client is not None:
                subscription.client.send(envelope)
            else:
                self.keep(subscription, envelope)

    # Dealers

    def _deal(self, subscription: Subscription, origin: str, timeout: Any) -> Held:
        held = Held(origin, timeout)
        try:
            for item in subscription.items:
                dealer = self._directory.get(item.dealer_name)
                if dealer is None:
                    raise RPCError("No such dealer")
                dealer.add_subscription_item(item)
                held.dealt.append((dealer, item))
            held.described = describe(
                subscription.subject, [(dealer, item.query) for dealer, item in held.dealt]
            )
        except Exception as error:
            _leave_dealers(held)
            if isinstance(error, BadQuery):
                raise RPCError(str(error) or "Bad query") from error
            raise
        held.item_set = self._item_set(held)
        held.item_set.add(subscription)
        self._held[subscription] = held
        self._by_token[subscription.token] = subscription
        self._by_origin[origin] = subscription
        self._changes.classic_subscriptions += 1
        return held

    def _item_set(self, held: Held) -> ItemSet:
        """The item set for the items that the dealers hold, made where it is the first."""
        queries = [
            dealer.get_shared_query(item) if isinstance(dealer, SharingDealer) else None
            for dealer, item in held.dealt
        ]
        shared_queries = frozenset(query for query in queries if query is not None)
        if None in queries:
            return ItemSet(self._name, shared_queries, self.keep, shared=False)
        item_set = self._item_sets.get(shared_queries)
        if item_set is None:
            item_set = ItemSet(self._name, shared_queries, self.keep, shared=True)
            self._item_sets[shared_queries] = item_set
        return item_set


class Pots:
    """Unacquired subscriptions by whose they are: one tenant's do not fill the others' room."""

    def __init__(self) -> None:
        self._pots: dict[str | None, dict[Subscription, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def size(self, pot: str | None) -> int:
        return len(self._pots.get(pot, ()))

    @property
    def largest(self) -> str | None:
        return max(self._pots, key=self.size, default=None)

    def oldest(self, pot: str | None) -> Subscription:
        return next(iter(self._pots[pot]))

    def add(self, pot: str | None, subscription: Subscription) -> None:
        self._pots.setdefault(pot, {})[subscription] = None
        self._count += 1

    def remove(self, pot: str | None, subscription: Subscription) -> None:
        subscriptions = self._pots.get(pot, {})
        if subscription in subscriptions:
            del subscriptions[subscription]
            self._count -= 1
            if not subscriptions:
                del self._pots[pot]


def describe(subject: Any, dealt: Iterable[tuple[Dealer, Any]]) -> Described:
    """A subscription, of dealers with queries, as it is selected. Raises BadQuery."""
    dealt = list(dealt)
    return Described(
        subject_text(subject),
        frozenset((dealer.name, query_key(dealer, query)) for dealer, query in dealt),
        frozenset[str]().union(*(models_of(dealer, query) for dealer, query in dealt)),
    )


def _matches(dealer: Dealer, item: Any, row: Any) -> bool:
    shared = dealer.get_shared_query(item) if isinstance(dealer, SharingDealer) else None
    try:
        if shared is not None:
            return shared.matches(row)
        return item in set(dealer.get_subscription_items_for_model(row))
    except Exception:
        dealer.log_failure()
        return False


def _leave_dealers(held: Held) -> None:
    dealt, held.dealt = held.dealt, []
    for dealer, item in dealt:
        try:
            dealer.remove_subscription_item(item)
        except Exception:
            snorky_log.exception('Dealer "%s" failed to remove an item', dealer.name)
