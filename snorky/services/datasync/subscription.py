"""Subscriptions as dealers are handed them: several items under one token, for one client."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any, Protocol, cast

from snorky.deltas import Delta
from snorky.envelope import Envelope


class Teller(Protocol):
    """The service of a subscription, as the subscription sees it."""

    def tell(self, subscription: Subscription, delta: Delta) -> None: ...


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

    def __init__(
        self, items: Iterable[SubscriptionItem], service: Teller, token: str | None = None
    ) -> None:
        self.token = token or secrets.token_urlsafe(32)  # 256 bits, 43 characters
        self.client: Any = None
        self.items = list(items)
        self.service = service
        self.subject: Any = None
        """Whose it is, as the web application said; None: anybody's."""
        self.ended = False
        self._kept: list[Envelope] = []
        self._kept_bytes = 0
        for item in self.items:
            item.subscription = self

    def deliver_delta(self, delta: Delta) -> None:
        """Tell the client of a delta. For dealers that override ``deliver_delta``.

        While the service publishes a delta, what is told here counts as what this item matched:
        the client hears once, after all dealers of the model were asked.
        """
        self.service.tell(self, delta)

    def keep(self, envelope: Envelope) -> tuple[int, int]:
        """Keep a message until there is a client; returns the number and the bytes of all kept."""
        self._kept.append(envelope)
        self._kept_bytes += len(envelope.text)
        return len(self._kept), self._kept_bytes

    def take_kept(self) -> list[Envelope]:
        """What was kept so far, oldest first; it is kept no longer."""
        kept, self._kept, self._kept_bytes = self._kept, [], 0
        return kept
