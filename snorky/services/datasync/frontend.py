"""DataSync as browsers see it: they acquire what the web application was authorised to give them.

Knows subscriptions, dealers and clients. The web application speaks to ``backend.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from snorky.deltas import Delta
from snorky.log import snorky_log
from snorky.metrics import metrics
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.services.datasync.dealers import BadQuery, Dealer, SharedQuery, SharingDealer
from snorky.services.datasync.delivery import ItemSet, Publication
from snorky.services.datasync.subscription import Subscription

AnyDealer = TypeVar("AnyDealer", bound=Dealer)


class DataSyncService(RPCService):
    """Keeps views in browsers equal to queries on the application's data.

    ``dealers`` are Dealer classes or instances, see ``register_dealer``.
    """

    secret_params = frozenset({"token"})

    def __init__(self, name: str, dealers: Iterable[type[Dealer] | Dealer] = ()) -> None:
        super().__init__(name)
        self.dealers: dict[str, Dealer] = {}
        self.publication: Publication | None = None
        """The delta whose matches are being collected, if any."""
        self._dealers_by_model: dict[str, list[Dealer]] = {}
        self._subscriptions_by_token: dict[str, Subscription] = {}
        self._subscriptions_by_client: dict[Any, dict[Subscription, None]] = {}
        self._unacquired: set[Subscription] = set()
        self._item_sets: dict[frozenset[SharedQuery], ItemSet] = {}
        for dealer in dealers:
            self.register_dealer(dealer)

    # Dealers

    def register_dealer(self, dealer: type[AnyDealer] | AnyDealer) -> AnyDealer:
        """Make a dealer (an instance, or a class to make one of) known by its name.

        Returns the instance. Raises RuntimeError where the name is taken. Several dealers may
        share a model.
        """
        instance = dealer() if isinstance(dealer, type) else dealer
        if instance.name in self.dealers:
            raise RuntimeError(f"Dealer with name '{instance.name}' already is registered.")
        model = getattr(instance, "model", None)
        if not isinstance(model, str):
            raise TypeError(f"model of dealer '{instance.name}' must be a string; got {model!r}")
        self.dealers[instance.name] = instance
        self._dealers_by_model.setdefault(model, []).append(instance)
        return instance

    def unregister_dealer(self, dealer: Dealer) -> None:
        """Authorise nothing more with this dealer, and tell it of no more deltas.

        Its items are still removed from it when their subscriptions end. Raises RuntimeError
        where it is not registered.
        """
        if self.dealers.get(dealer.name) is not dealer:
            raise RuntimeError(f"Dealer with name '{dealer.name}' is not registered.")
        del self.dealers[dealer.name]
        for model, dealers in tuple(self._dealers_by_model.items()):
            if dealer in dealers:
                dealers.remove(dealer)
                if not dealers:
                    del self._dealers_by_model[model]

    # Clients

    @rpc_command
    def acquireSubscription(self, req: Request, token: Any) -> None:
        """Deliver what was kept for the token, then every delta that follows."""
        subscription = self._get_subscription(token)
        if subscription.client is not None:
            raise RPCError("No such subscription")
        if not getattr(req.client, "connected", True):
            return  # it left while an override of this command was deciding
        subscriptions = self._subscriptions_by_client.get(req.client, {})
        if len(subscriptions) >= self.limits.max_subscriptions:
            raise RPCError("Too many subscriptions")
        self._subscriptions_by_client[req.client] = subscriptions
        subscriptions[subscription] = None
        self._unacquired.remove(subscription)
        metrics.subscriptions += 1
        subscription.timeout.cancel()
        subscription.client = req.client
        assert subscription.item_set is not None  # it has not ended
        subscription.item_set.acquired(subscription)
        for envelope in subscription.take_kept():
            req.client.send(envelope)

    @rpc_command
    def cancelSubscription(self, req: Request, token: Any) -> None:
        subscription = self._get_subscription(token)
        if subscription not in self._subscriptions_by_client.get(req.client, ()):
            raise RPCError("No such subscription")
        self.end_subscription(subscription)

    def client_disconnected(self, client: Any) -> None:
        for subscription in tuple(self._subscriptions_by_client.get(client, ())):
            self.end_subscription(subscription)

    def _get_subscription(self, token: Any) -> Subscription:
        if not isinstance(token, str):
            raise RPCError("token must be string")
        subscription = self._subscriptions_by_token.get(token)
        if subscription is None:
            raise RPCError("No such subscription")
        return subscription

    # Subscriptions, as the back end handles them

    def add_subscription(self, subscription: Subscription, timeout: Any) -> None:
        """Hand the items of a new subscription to their dealers; from now on it keeps its deltas.

        ``timeout`` is what will call ``expire_subscription``; acquiring or ending cancels it.
        Raises RPCError where a dealer is unknown or refuses, and leaves nothing behind then.
        """
        if len(self._unacquired) >= self.limits.max_unacquired_tokens:
            raise RPCError("Too many unacquired tokens")
        if len(subscription.items) > self.limits.max_subscription_items:
            raise RPCError("Too many items")
        if any(item.dealer_name not in self.dealers for item in subscription.items):
            raise RPCError("No such dealer")
        try:
            for item in subscription.items:
                dealer = self.dealers[item.dealer_name]
                dealer.add_subscription_item(item)
                subscription.dealt.append((dealer, item))
        except Exception as error:
            _leave_dealers(subscription)
            if isinstance(error, BadQuery):
                raise RPCError(str(error) or "Bad query") from error
            raise
        self._get_item_set(subscription).add(subscription)
        self._subscriptions_by_token[subscription.token] = subscription
        self._unacquired.add(subscription)
        subscription.timeout = timeout

    def expire_subscription(self, subscription: Subscription) -> None:
        """Nobody acquired it in time. Does nothing where somebody did."""
        if subscription in self._unacquired:
            metrics.tokens_expired += 1
            self.end_subscription(subscription)

    def subscription_overflowed(self, subscription: Subscription) -> None:
        """More is to be kept than may be: delivering a part would leave a gap that nobody sees."""
        if subscription not in self._unacquired:
            return
        metrics.tokens_overflowed += 1
        snorky_log.warning(
            'Too many deltas for a subscription that nobody has acquired in service "%s" '
            "(dealers: %s): it has ended",
            self.name,
            ", ".join(sorted({item.dealer_name for item in subscription.items})),
        )
        self.end_subscription(subscription)

    def end_subscription(self, subscription: Subscription) -> None:
        """Forget a subscription and its token. Ending it again does nothing."""
        if subscription.ended:
            return
        subscription.ended = True
        subscription.timeout.cancel()
        subscription.take_kept()
        del self._subscriptions_by_token[subscription.token]
        self._unacquired.discard(subscription)
        if subscription.client is not None:
            metrics.subscriptions -= 1
            subscriptions = self._subscriptions_by_client[subscription.client]
            del subscriptions[subscription]
            if not subscriptions:
                del self._subscriptions_by_client[subscription.client]
        item_set = subscription.item_set
        assert item_set is not None  # it had not ended
        item_set.remove(subscription)
        if item_set.close_if_empty() and item_set.shared:
            del self._item_sets[item_set.queries]
        _leave_dealers(subscription)

    def _get_item_set(self, subscription: Subscription) -> ItemSet:
        """The item set for the items that the dealers hold, made where it is the first."""
        queries = [
            dealer.get_shared_query(item) if isinstance(dealer, SharingDealer) else None
            for dealer, item in subscription.dealt
        ]
        shared_queries = frozenset(query for query in queries if query is not None)
        if None in queries:
            return ItemSet(self.name, shared_queries, shared=False)
        item_set = self._item_sets.get(shared_queries)
        if item_set is None:
            item_set = ItemSet(self.name, shared_queries, shared=True)
            self._item_sets[shared_queries] = item_set
        return item_set

    # Deltas

    def publish_deltas(self, deltas: Iterable[Delta]) -> None:
        """Tell the subscriptions that match, delta by delta. Deltas nobody deals in are ignored."""
        for delta in deltas:
            metrics.deltas += 1
            dealers = self._dealers_by_model.get(delta.model)
            if dealers:
                self._publish(delta, tuple(dealers))

    def _publish(self, delta: Delta, dealers: tuple[Dealer, ...]) -> None:
        publication = Publication(delta)
        # A dealer may publish deltas that follow from this one.
        outer, self.publication = self.publication, publication
        try:
            for dealer in dealers:
                publication.ask(dealer)
        finally:
            self.publication = outer
        publication.send()


def _leave_dealers(subscription: Subscription) -> None:
    dealt, subscription.dealt = subscription.dealt, []
    for dealer, item in dealt:
        try:
            dealer.remove_subscription_item(item)
        except Exception:
            snorky_log.exception('Dealer "%s" failed to remove an item', dealer.name)
