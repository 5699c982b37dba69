"""Chat: channels whose members see who is there, and what they say."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from snorky.audience import Audience
from snorky.brokers import Broker
from snorky.brokers.memory import MemoryBroker
from snorky.envelope import Envelope
from snorky.metrics import metrics
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.wire import canonical


@dataclass(eq=False, slots=True)
class _Channel:
    value: Any
    topic: str
    audience: Audience = field(default_factory=Audience)
    members: dict[str, _Member] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Member:
    """An identity in a channel, with all its connections there."""

    channel: _Channel
    identity: Any
    key: str
    connections: dict[Any, None] = field(default_factory=dict)


class ChatService(RPCService):
    """Channels that identities join, over as many connections as they like.

    Channels and identities are any JSON values, and equal if they are equal as JSON. A member is
    who the client was when it joined.

    Messages and presence go through the broker: members in other processes receive them too, in
    the order of their sender. Members are counted in each process: ``members``, first joins and
    last leaves, and the connections that a read mark reaches are those of this process.
    """

    def __init__(self, name: str, broker: Broker | None = None) -> None:
        super().__init__(name)
        self.broker = broker or MemoryBroker()
        self._channels: dict[str, _Channel] = {}
        self._memberships: dict[Any, dict[str, _Member]] = {}

    def check_identity(self, client: Any) -> None:
        """Raise RPCError where ``client`` may not chat, whatever the command."""
        if client.identity is None:
            raise RPCError("Not authenticated")

    def can_join(self, client: Any, channel: Any) -> bool | Awaitable[bool]:
        """Say whether ``client`` may join. May be an ``async`` method."""
        return True

    def get_time(self) -> datetime | str:
        """The time for a notification. A text is sent as it is."""
        return datetime.now(UTC)

    @rpc_command
    def join(self, req: Request, channel: Any) -> Any:
        """Reply with the identities that are in the channel now."""
        self.check_identity(req.client)
        allowed = self.can_join(req.client, channel)
        if inspect.isawaitable(allowed):
            return self._join_later(allowed, req.client, channel)
        return self._join(allowed, req.client, channel)

    @rpc_command
    def leave(self, req: Request, channel: Any) -> Awaitable[None] | None:
        self.check_identity(req.client)
        member = self._member(req.client, channel)
        memberships = self._memberships[req.client]
        del memberships[member.channel.topic]
        if not memberships:
            del self._memberships[req.client]
        done = self._remove(req.client, member)
        self._announce_if_gone(member)
        return done

    @rpc_command
    def send(self, req: Request, channel: Any, body: Any) -> Awaitable[None] | None:
        self.check_identity(req.client)
        joined = self._member(req.client, channel).channel
        metrics.publications += 1
        message = {
            "type": "message",
            "from": req.client.identity,
            "channel": joined.value,
            "body": body,
            "timestamp": self._timestamp(),
        }
        return self.broker.publish(joined.topic, Envelope(self.name, message))

    @rpc_command
    def read(self, req: Request, channel: Any) -> None:
        """Tell the other connections of the same identity that it has read the channel."""
        self.check_identity(req.client)
        joined = self._channels.get(self._topic(channel))
        member = joined and joined.members.get(canonical(req.client.identity))
        if not joined or not member:
            return
        self.broadcast(
            [client for client in member.connections if client is not req.client],
            {"type": "read", "channel": joined.value, "timestamp": self._timestamp()},
        )

    def client_disconnected(self, client: Any) -> None:
        memberships = self._memberships.pop(client, {})
        for member in memberships.values():
            self._remove(client, member)
        for member in memberships.values():
            self._announce_if_gone(member)

    async def _join_later(self, allowed: Awaitable[bool], client: Any, channel: Any) -> Any:
        reply = self._join(await allowed, client, channel)
        return await reply if inspect.isawaitable(reply) else reply

    def _join(self, allowed: bool, client: Any, channel: Any) -> Any:
        if not allowed:
            raise RPCError("Not authorized")
        if not getattr(client, "connected", True):
            return None  # it left while can_join was deciding
        topic = self._topic(channel)
        memberships = self._memberships.get(client, {})
        if topic in memberships:
            raise RPCError("Already joined")
        if len(memberships) >= self.limits.max_subscriptions:
            raise RPCError("Too many channels")
        key = canonical(client.identity)
        joined = self._channels.get(topic) or _Channel(channel, topic)
        member = joined.members.get(key) or _Member(joined, client.identity, key)
        presence = None if member.connections else self._presence(member, "joined")
        is_new = not joined.members

        self._channels[topic] = joined
        joined.members[key] = member
        member.connections[client] = None
        memberships[topic] = member
        self._memberships[client] = memberships
        metrics.subscriptions += 1
        if presence is not None:
            self.broker.publish(topic, presence)
        joined.audience.add(client)  # only now: who joins is not told that it did
        reply = {"members": [each.identity for each in joined.members.values()]}
        done = self.broker.subscribe(topic, joined.audience.send) if is_new else None
        return reply if done is None else _reply_when(done, reply)

    def _topic(self, channel: Any) -> str:
        return f"{self.name}/{canonical(channel)}"

    def _timestamp(self) -> str:
        time = self.get_time()
        if isinstance(time, str):
            return time
        # Without a zone it is local time, as everywhere in Python.
        return (time if time.tzinfo else time.astimezone()).isoformat()

    def _member(self, client: Any, channel: Any) -> _Member:
        member = self._memberships.get(client, {}).get(self._topic(channel))
        if member is None:
            raise RPCError("Not joined")
        return member

    def _remove(self, client: Any, member: _Member) -> Awaitable[None] | None:
        metrics.subscriptions -= 1
        channel = member.channel
        channel.audience.remove(client)
        del member.connections[client]
        if not member.connections:
            del channel.members[member.key]
        if channel.members:
            return None
        del self._channels[channel.topic]
        return self.broker.unsubscribe(channel.topic, channel.audience.send)

    def _announce_if_gone(self, member: _Member) -> None:
        if not member.connections:
            self.broker.publish(member.channel.topic, self._presence(member, "left"))

    def _presence(self, member: _Member, status: Literal["joined", "left"]) -> Envelope:
        message = {
            "type": "presence",
            "from": member.identity,
            "channel": member.channel.value,
            "status": status,
            "timestamp": self._timestamp(),
        }
        return Envelope(self.name, message)


async def _reply_when(done: Awaitable[None], reply: Any) -> Any:
    await done
    return reply
