"""Subscriptions: what one page has asked for, and what is kept for it until it comes."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from snorky.deltas import Delta
from snorky.wire import Envelope

if TYPE_CHECKING:
    from snorky.audience import Audience
    from snorky.services.datasync.dealers import Dealer
    from snorky.services.datasync.delivery import ItemSet
    from snorky.services.datasync.frontend import DataSyncService


class SubscriptionItem:
    """One query to one dealer, asked on behalf of ``subscription``."""

    def __init__(
        self, dealer_name: str, query: Any, subscription: Subscription | None = None
    ) -> None:
        self.dealer_name = dealer_name
        self.query = query
        # The subscription is made of its items and tells them so at once: no dealer is ever
        # handed an item without one.
        self.subscription = cast("Subscription", subscription)


class Subscription:
    """Several items under one token. ``client`` is None until the token is acquired.

    Each of its deltas reaches the client once, however many of the items it matches.
    """

    def __init__(self, items: Iterable[SubscriptionItem], service: DataSyncService) -> None:
        self.token = secrets.token_urlsafe(32)  # 256 bits, 43 characters
        self.client: Any = None
        self.items = list(items)
        self.service = service
        for item in self.items:
            item.subscription = self

        # The rest belongs to the service.
        self.ended = False
        self.timeout: Any = None
        """Ends the subscription unless it is acquired; anything with ``cancel()``."""
        self.dealt: list[tuple[Dealer, SubscriptionItem]] = []
        """The dealers that hold an item of this subscription, each with its item."""
        self.item_set: ItemSet | None = None
        self.audience: Audience | None = None
        self._kept: list[Envelope] = []
        self._kept_bytes = 0

    def deliver_delta(self, delta: Delta) -> None:
        """Tell the client of a delta. For dealers that override ``deliver_delta``.

        While the service publishes a delta, what is told here counts as what this item matched:
        the client hears once, after all dealers of the model were asked.
        """
        publication = self.service.publication
        if publication is not None and self.item_set is not None and not self.item_set.shared:
            publication.tell(self.item_set, delta)
        elif not self.ended:
            self.send(delta_envelope(self.service.name, delta))

    def send(self, envelope: Envelope) -> None:
        """Send to the client, or keep it until there is one."""
        if self.client is not None:
            self.client.send(envelope)
            return
        self._kept.append(envelope)
        self._kept_bytes += len(envelope.text)
        limits = self.service.limits
        if len(self._kept) > limits.max_kept_deltas or self._kept_bytes > limits.max_kept_bytes:
            self.service.subscription_overflowed(self)

    def take_kept(self) -> list[Envelope]:
        """What was kept so far, oldest first; it is kept no longer."""
        kept, self._kept, self._kept_bytes = self._kept, [], 0
        return kept


def delta_envelope(service_name: str, delta: Delta) -> Envelope:
    return Envelope(service_name, {"type": "delta", "delta": delta.for_json()})
