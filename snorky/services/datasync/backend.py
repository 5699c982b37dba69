"""DataSync as the web application sees it: it authorises subscriptions and publishes deltas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from snorky.deltas import BadDelta, parse_delta
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.services.datasync.frontend import DataSyncService
from snorky.services.datasync.subscription import Subscription, SubscriptionItem


class Timeout(Protocol):
    def cancel(self) -> Any: ...


class TimeoutFactory(Protocol):
    """Whoever can call something later: asyncio's loop, Tornado's IOLoop, the clock of a test."""

    def call_later(self, delay: float, callback: Callable[..., Any], /, *args: Any) -> Timeout: ...


class RunningLoop:
    """The event loop of whoever asks."""

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Timeout:
        return asyncio.get_running_loop().call_later(delay, partial(callback, *args, **kwargs))


class DataSyncBackend(RPCService):
    """Lets trusted servers authorise subscriptions of ``frontend`` and publish deltas to them.

    A token that nobody acquires within ``timeout_interval`` seconds dies.
    """

    def __init__(
        self,
        name: str,
        frontend: DataSyncService,
        timeout_interval: float = 120,
        timeout_factory: TimeoutFactory | None = None,
    ) -> None:
        super().__init__(name)
        self.frontend = frontend
        self.timeout_interval = timeout_interval
        self.timeout_factory: TimeoutFactory = timeout_factory or RunningLoop()

    @rpc_command
    def authorizeSubscription(self, req: Request, items: list[Any]) -> str:
        """Answer with a token for ``items``, each an object with ``dealer`` and ``query``.

        Every change from now on reaches whoever acquires it.
        """
        subscription = Subscription([_parse_item(item) for item in items], self.frontend)
        timeout = self.timeout_factory.call_later(
            self.timeout_interval, self.frontend.expire_subscription, subscription
        )
        try:
            self.frontend.add_subscription(subscription, timeout)
        except Exception:
            timeout.cancel()
            raise
        return subscription.token

    @rpc_command
    def publishDeltas(self, req: Request, deltas: list[Any]) -> None:
        """Publish deltas in the order of the list: all of them, or none where one is faulty."""
        try:
            parsed = [parse_delta(delta) for delta in deltas]
        except BadDelta as error:
            raise RPCError(str(error)) from error
        self.frontend.publish_deltas(parsed)

    @rpc_command
    def publish(self, req: Request, deltas: list[Any]) -> None:
        """The same as ``publishDeltas``."""
        self.publishDeltas(req, deltas)


def _parse_item(item: Any) -> SubscriptionItem:
    # What is not an object lacks every field.
    fields: dict[str, Any] = item if isinstance(item, dict) else {}
    for name in ("dealer", "query"):
        if name not in fields:
            raise RPCError(f"Missing field '{name}'")
    if not isinstance(fields["dealer"], str):
        raise RPCError("dealer should be a dealer name")
    return SubscriptionItem(fields["dealer"], fields["query"])
