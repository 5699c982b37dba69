"""Publish/subscribe, open by default: every client may subscribe to and publish on every channel.

Who subscribes to a channel receives what is published on it.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any

from snorky.brokers import Broker
from snorky.brokers.memory import MemoryBroker
from snorky.client import Peer
from snorky.envelope import Envelope
from snorky.metrics import metrics
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.services.joining import Joining
from snorky.services.keys import key_of
from snorky.topics import Topic, Topics, forget


class PubSubService(RPCService):
    """Channels that every client may subscribe to and publish on, until a subclass says who may.

    Override ``can_subscribe`` and ``can_publish`` for that. A channel is any JSON value.
    """

    def __init__(self, name: str, broker: Broker | None = None) -> None:
        super().__init__(name)
        self.has_own_broker = broker is not None
        self._topics_by_client: dict[Peer, dict[str, Topic]] = {}
        self.use_broker(broker or MemoryBroker())

    def use_broker(self, broker: Broker) -> None:
        """Use another broker, before the first client comes."""
        self.broker = broker
        self._topics = Topics(broker, Topic)
        self._joining = Joining(self._topics)

    def can_subscribe(self, client: Peer, channel: Any) -> bool | Awaitable[bool]:
        """Say whether ``client`` may subscribe. May be an ``async`` method."""
        return True

    def can_publish(self, client: Peer, channel: Any) -> bool | Awaitable[bool]:
        """Say whether ``client`` may publish. May be an ``async`` method."""
        return True

    @rpc_command
    def subscribe(self, req: Request, channel: Any) -> Awaitable[None] | None:
        """Receive from now on what is published on ``channel``, where ``can_subscribe`` agrees."""
        name = self._name_of(channel)
        client = req.client
        allowed = self.can_subscribe(client, channel)
        joined: Awaitable[None] | None = self._joining.join(
            client, name, allowed, lambda: self._subscribe(client, name)
        )
        return joined

    @rpc_command
    def unsubscribe(self, req: Request, channel: Any) -> Awaitable[None] | None:
        """Receive nothing more of ``channel``. Withdraws a ``subscribe`` that is under way, too."""
        name = self._name_of(channel)
        withdrawn = self._joining.withdraw(req.client, name)
        topics = self._topics_by_client.get(req.client)
        if topics is not None and name in topics:
            topic = topics.pop(name)
            if not topics:
                del self._topics_by_client[req.client]
            return self._leave(req.client, topic)
        if not withdrawn:
            raise RPCError("Not subscribed")
        return None

    @rpc_command
    def publish(self, req: Request, channel: Any, message: Any) -> Awaitable[None] | None:
        """Send ``message``, any JSON value, to all subscribers, where ``can_publish`` agrees."""
        allowed = self.can_publish(req.client, channel)
        if inspect.isawaitable(allowed):
            return self._publish_later(allowed, channel, message)
        if not allowed:
            raise RPCError("Not authorized")
        return self.do_publish(channel, message)

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
            self._name_of(channel),
            Envelope(self.name, {"type": "message", "channel": channel, "message": message}),
        )

    def client_disconnected(self, client: Peer) -> None:
        self._joining.forget(client)
        for topic in self._topics_by_client.pop(client, {}).values():
            forget(self._leave(client, topic))

    def _name_of(self, channel: Any) -> str:
        """The topic of a channel. Raises RPCError where it is too large."""
        most = self.limits.max_channel_bytes
        return f"{self.name}/{key_of(channel, most, 'Channel too large')}"

    async def _publish_later(self, allowed: Awaitable[bool], channel: Any, message: Any) -> None:
        if not await allowed:
            raise RPCError("Not authorized")
        done = self.do_publish(channel, message)
        if done is not None:
            await done

    def _subscribe(self, client: Peer, name: str) -> None:
        topic = self._topics.get(name)
        assert topic is not None  # it is held for this client
        topics = self._topics_by_client.get(client, {})
        if name in topics:
            raise RPCError("Already subscribed")
        if len(topics) >= self.limits.max_subscriptions:
            raise RPCError("Too many subscriptions")
        topic.audience.add(client)
        topics[topic.name] = topic
        self._topics_by_client[client] = topics
        metrics.subscriptions += 1

    def _leave(self, client: Peer, topic: Topic) -> Awaitable[None] | None:
        metrics.subscriptions -= 1
        topic.audience.remove(client)
        return self._topics.release(topic)


class PubSubBackend(RPCService):
    """Lets trusted servers publish on the channels of ``frontend``."""

    def __init__(self, name: str, frontend: PubSubService) -> None:
        super().__init__(name)
        self.frontend = frontend

    @rpc_command
    def publish(self, req: Request, channel: Any, message: Any) -> Awaitable[None] | None:
        """Send ``message`` to all subscribers of ``channel``. Nobody is asked."""
        return self.frontend.do_publish(channel, message)
