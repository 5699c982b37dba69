"""Publish/subscribe: who subscribes to a channel receives what is published on it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from snorky.audience import Audience
from snorky.brokers import Broker
from snorky.brokers.memory import MemoryBroker
from snorky.envelope import Envelope
from snorky.metrics import metrics
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.wire import canonical


class PubSubService(RPCService):
    """Channels that clients subscribe to and publish on. A channel is any JSON value.

    Override ``can_subscribe`` and ``can_publish`` to say who may; both allow everything here.
    """

    def __init__(self, name: str, broker: Broker | None = None) -> None:
        super().__init__(name)
        self.broker = broker or MemoryBroker()
        self._audiences: dict[str, Audience] = {}
        self._topics_by_client: dict[Any, set[str]] = {}

    def can_subscribe(self, client: Any, channel: Any) -> bool | Awaitable[bool]:
        """Say whether ``client`` may subscribe. May be an ``async`` method."""
        return True

    def can_publish(self, client: Any, channel: Any) -> bool | Awaitable[bool]:
        """Say whether ``client`` may publish. May be an ``async`` method."""
        return True

    @rpc_command
    def subscribe(self, req: Request, channel: Any) -> Awaitable[None] | None:
        topic = self._topic(channel)
        allowed = self.can_subscribe(req.client, channel)
        return _when_allowed(allowed, lambda: self._subscribe(req.client, topic))

    @rpc_command
    def unsubscribe(self, req: Request, channel: Any) -> Awaitable[None] | None:
        topic = self._topic(channel)
        topics = self._topics_by_client.get(req.client)
        if topics is None or topic not in topics:
            raise RPCError("Not subscribed")
        topics.remove(topic)
        if not topics:
            del self._topics_by_client[req.client]
        return self._leave(req.client, topic)

    @rpc_command
    def publish(self, req: Request, channel: Any, message: Any) -> Awaitable[None] | None:
        allowed = self.can_publish(req.client, channel)
        return _when_allowed(allowed, lambda: self.do_publish(channel, message))

    @rpc_command
    def join(self, req: Request, channel: Any) -> Awaitable[None] | None:
        """The same as ``subscribe``."""
        return self.subscribe(req, channel)

    @rpc_command
    def leave(self, req: Request, channel: Any) -> Awaitable[None] | None:
        """The same as ``unsubscribe``."""
        return self.unsubscribe(req, channel)

    def do_publish(self, channel: Any, message: Any) -> Awaitable[None] | None:
        """Publish without asking ``can_publish``.

        Returns None when the broker has taken it at once, or an awaitable.
        """
        metrics.publications += 1
        return self.broker.publish(
            self._topic(channel),
            Envelope(self.name, {"type": "message", "channel": channel, "message": message}),
        )

    def client_disconnected(self, client: Any) -> None:
        for topic in self._topics_by_client.pop(client, ()):
            self._leave(client, topic)

    def _topic(self, channel: Any) -> str:
        return f"{self.name}/{canonical(channel)}"

    def _subscribe(self, client: Any, topic: str) -> Awaitable[None] | None:
        if not getattr(client, "connected", True):
            return None  # it left while can_subscribe was deciding
        topics = self._topics_by_client.get(client)
        if topics is None:
            topics = self._topics_by_client[client] = set()
        elif topic in topics:
            raise RPCError("Already subscribed")
        elif len(topics) >= self.limits.max_subscriptions:
            raise RPCError("Too many subscriptions")
        topics.add(topic)
        metrics.subscriptions += 1
        audience = self._audiences.get(topic)
        if audience is not None:
            audience.add(client)
            return None
        audience = self._audiences[topic] = Audience()
        audience.add(client)
        return self.broker.subscribe(topic, audience.send)

    def _leave(self, client: Any, topic: str) -> Awaitable[None] | None:
        metrics.subscriptions -= 1
        audience = self._audiences[topic]
        audience.remove(client)
        if audience:
            return None
        del self._audiences[topic]
        return self.broker.unsubscribe(topic, audience.send)


class PubSubBackend(RPCService):
    """Lets trusted servers publish on the channels of ``frontend``."""

    def __init__(self, name: str, frontend: PubSubService) -> None:
        super().__init__(name)
        self.frontend = frontend

    @rpc_command
    def publish(self, req: Request, channel: Any, message: Any) -> Awaitable[None] | None:
        return self.frontend.do_publish(channel, message)


def _when_allowed(
    allowed: bool | Awaitable[bool], action: Callable[[], Awaitable[None] | None]
) -> Awaitable[None] | None:
    """Do ``action`` once its permission is there. Raises RPCError where it is refused."""
    if inspect.isawaitable(allowed):
        return _await_permission(allowed, action)
    if not allowed:
        raise RPCError("Not authorized")
    return action()


async def _await_permission(
    allowed: Awaitable[bool], action: Callable[[], Awaitable[None] | None]
) -> None:
    if not await allowed:
        raise RPCError("Not authorized")
    done = action()
    if done is not None:
        await done
