"""Publish/subscribe as clients see it: open by default.

Every client may subscribe to and publish on every channel until a subclass says who may.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any

from snorky.brokers import Broker, Position
from snorky.client import Peer
from snorky.envelope import Envelope
from snorky.metrics import metrics
from snorky.past import NO_HISTORY, History, Missed, Pasts
from snorky.processes import Processes
from snorky.rosters import Rosters
from snorky.services.base import Request, RPCError, rpc_command
from snorky.services.joining import Joining
from snorky.services.keys import key_of, value_of
from snorky.services.listing import Listing
from snorky.services.pubsub.channel import Channel, told_later
from snorky.services.pubsub.marks import Marks
from snorky.services.pubsub.options import PLAIN, ChannelOptions, options_of
from snorky.services.sharing import SharedService
from snorky.topics import Topic, Topics, forget
from snorky.wire import canonical


class PubSubService(SharedService):
    """Channels that every client may subscribe to and publish on, until a subclass says who may.

    Override ``can_subscribe`` and ``can_publish`` for that. A channel is any JSON value.

    ``channels``: what channels are beside that, by their names or by patterns such as ``scores/*``;
    the first that matches counts. Processes that share ``broker`` must be given the same.
    ``history_bytes`` bounds what is kept of all channels together.
    """

    def __init__(
        self,
        name: str,
        broker: Broker | None = None,
        *,
        channels: Mapping[str, ChannelOptions] | None = None,
        history_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self.channels = dict(channels or {})
        self.history_bytes = history_bytes
        self._topics_by_client: dict[Peer, dict[str, Topic]] = {}
        self._users = 0
        super().__init__(name, broker)

    def _use(self, broker: Broker, processes: Processes) -> None:
        super()._use(broker, processes)
        self.listing = Listing(processes, self._channels_here, self._members_here)
        self._rosters = Rosters(self.name, processes)
        self._topics: Topics[Topic] = Topics(broker, self._make)
        self._joining = Joining(self._topics)
        self._pasts, self._marks = None, None
        longest = [each.history.seconds for each in self.channels.values() if each.history]
        if longest:
            self._pasts = Pasts(
                broker,
                self.name,
                self._history_of,
                max(longest),
                self.history_bytes,
                self._message_came,
                self._past_lost,
            )
            self._marks = Marks(self.name, self._pasts.log, self._send_waiting)

    async def start(self) -> None:
        """Meet the other processes, and read what they have kept. Counted: stop as often."""
        if not self._users:
            await super().start()
            if self._pasts is not None and self._marks is not None:
                await self._pasts.start()
                self._marks.start()
        self._users += 1

    async def stop(self) -> None:
        self._users -= 1
        if self._users:
            return
        if self._pasts is not None and self._marks is not None:
            self._marks.stop()
            await self._pasts.stop()
        await super().stop()

    def can_subscribe(self, client: Peer, channel: Any) -> bool | Awaitable[bool]:
        """Say whether ``client`` may subscribe. May be an ``async`` method."""
        return True

    def can_publish(self, client: Peer, channel: Any) -> bool | Awaitable[bool]:
        """Say whether ``client`` may publish. May be an ``async`` method."""
        return True

    @rpc_command
    def subscribe(self, req: Request, channel: Any, since: str | None = None) -> Any:
        """Receive from now on what is published on ``channel``, where ``can_subscribe`` agrees.

        Reply null, or for a channel with options what a newcomer has to know.

        ``since``: a position of the channel's past. The reply then has everything that came after
        it, or says why not.
        """
        client, name = req.client, self._name_of(channel)
        allowed = self.can_subscribe(client, channel)
        if since and self._pasts is not None:
            position = self._pasts.ahead(since)
            if position is not None:  # it was seen in another process, which is quicker than this
                allowed = _when_there(allowed, self._pasts, position)
        return self._joining.join(
            client, name, allowed, lambda: self._subscribe(client, name, since)
        )

    @rpc_command
    def unsubscribe(self, req: Request, channel: Any) -> Awaitable[None] | None:
        """Receive nothing more of ``channel``. Withdraws a ``subscribe`` that is under way, too."""
        name = self._name_of(channel)
        withdrawn = self._joining.withdraw(req.client, name)
        if name in self._topics_by_client.get(req.client, {}):
            return self._unsubscribe(req.client, name)
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
    def join(self, req: Request, channel: Any, since: str | None = None) -> Any:
        """The same as ``subscribe``."""
        # A subclass may have the older signature.
        return (
            self.subscribe(req, channel) if since is None else self.subscribe(req, channel, since)
        )

    @rpc_command
    def presence(self, req: Request, channel: Any) -> Any:
        """Reply who is there now, to a subscriber of a channel with presence."""
        topic = self._topics_by_client.get(req.client, {}).get(self._name_of(channel))
        if topic is None:
            raise RPCError("Not subscribed")
        if not isinstance(topic, Channel) or topic.presence is None:
            raise RPCError("No presence")
        return topic.presence.told()

    @rpc_command
    def leave(self, req: Request, channel: Any) -> Awaitable[None] | None:
        """The same as ``unsubscribe``."""
        return self.unsubscribe(req, channel)

    def do_publish(self, channel: Any, message: Any) -> Awaitable[None] | None:
        """Publish without asking ``can_publish``.

        Returns None when the broker has taken it at once, or an awaitable.
        """
        metrics.publications += 1
        name = self._name_of(channel)
        if self.channels:
            history = options_of(channel, self.channels).history
            if history is not None and self._pasts is not None:
                return self._pasts.publish(self._key_of(name), history, message)
        return self.broker.publish(
            name,
            Envelope(self.name, {"type": "message", "channel": channel, "message": message}),
        )

    def history(self, channel: Any, since: str = "") -> dict[str, Any]:
        """What a channel's past has after a position, or all of it: as ``subscribe`` replies.

        Raises RPCError where the channel has no past.
        """
        key = self._key_of(self._name_of(channel))
        if self._pasts is None or self._history_of(key) is None:
            raise RPCError("No history")
        told: dict[str, Any] = {"position": str(self._pasts.log.head)}
        try:
            entries = self._pasts.missed(key, since)
        except Missed as missed:
            return {**told, "recovered": False, "reason": str(missed)}
        return {**told, "recovered": True, "messages": told_later(channel, entries)}

    def add_client(self, client: Peer, channel: Any) -> Any:
        """Subscribe a client that has not asked for it, and tell it.

        Nobody is asked whether it may. Returns None, or an awaitable. It lasts for as long as its
        connection, or until it unsubscribes.
        """
        name = self._name_of(channel)
        if name in self._topics_by_client.get(client, {}):
            return None
        return self._joining.join(client, name, True, lambda: self._add(client, channel, name))

    def remove_client(self, client: Peer, channel: Any) -> Awaitable[None] | None:
        """Unsubscribe a client, and tell it; nothing happens where it is not subscribed."""
        name = self._name_of(channel)
        self._joining.withdraw(client, name)
        if name not in self._topics_by_client.get(client, {}):
            return None
        done = self._unsubscribe(client, name)
        self.send_message_to(client, {"type": "unsubscribed", "channel": channel})
        return done

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

    def _subscribe(self, client: Peer, name: str, since: str | None) -> Any:
        topic = self._topics.get(name)
        assert topic is not None  # it is held for this client
        topics = self._topics_by_client.get(client, {})
        if name in topics:
            raise RPCError("Already subscribed")
        if len(topics) >= self.limits.max_subscriptions:
            raise RPCError("Too many subscriptions")
        told: dict[str, Any] = {}
        if isinstance(topic, Channel):
            told = topic.enter(client, since)
            if "position" in told and self._marks is not None:
                self._marks.add(client)
        else:
            topic.audience.add(client)
            if since is not None:
                told = {"recovered": False, "reason": NO_HISTORY}
        topics[topic.name] = topic
        self._topics_by_client[client] = topics
        metrics.subscriptions += 1
        return told or None

    def _add(self, client: Peer, channel: Any, name: str) -> None:
        told = self._subscribe(client, name, None) or {}
        self.send_message_to(client, {"type": "subscribed", "channel": channel, **told})

    def _unsubscribe(self, client: Peer, name: str) -> Awaitable[None] | None:
        topics = self._topics_by_client[client]
        topic = topics.pop(name)
        if not topics:
            del self._topics_by_client[client]
        return self._leave(client, topic)

    def _leave(self, client: Peer, topic: Topic) -> Awaitable[None] | None:
        metrics.subscriptions -= 1
        if isinstance(topic, Channel):
            topic.leave(client)
            if topic.has_past and self._marks is not None:
                self._marks.remove(client)
        else:
            topic.audience.remove(client)
        return self._topics.release(topic)

    def _make(self, name: str) -> Topic:
        if self.channels:
            options = options_of(value_of(self._key_of(name)), self.channels)
            if options != PLAIN:
                return Channel(name, self.name, options, self._pasts, self._rosters, self.limits)
        return Topic(name)

    # For the past

    def _history_of(self, key: str) -> History | None:
        return options_of(value_of(key), self.channels).history

    def _message_came(self, key: str, before: Position, position: Position, message: Any) -> None:
        topic = self._topics.get(f"{self.name}/{key}")
        if isinstance(topic, Channel):
            topic.message_came(before, position, message)

    def _past_lost(self, position: Position) -> None:
        for topic in self._topics:
            if isinstance(topic, Channel):
                topic.past_lost(position)

    def _send_waiting(self) -> None:
        for topic in self._topics:
            if isinstance(topic, Channel):
                topic.send_waiting()

    # For trusted servers

    def _channels_here(self) -> Iterable[tuple[str, int]]:
        return (
            (self._key_of(topic.name), len(topic.audience))
            for topic in self._topics
            if topic.audience
        )

    def _members_here(self, key: str) -> dict[str, int]:
        topic = self._topics.get(f"{self.name}/{key}")
        clients = () if topic is None else topic.audience
        return Counter(canonical(getattr(client, "identity", None)) for client in clients)

    def _key_of(self, name: str) -> str:
        return name.removeprefix(f"{self.name}/")


async def _when_there(allowed: bool | Awaitable[bool], pasts: Pasts, position: Position) -> bool:
    """``allowed``, when this process has what the client has seen in another one."""
    if inspect.isawaitable(allowed):
        allowed = await allowed
    if allowed:
        await pasts.reach(position)
    return allowed
