"""Chat: channels whose members see who is there, and what they say."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from snorky.brokers import Broker
from snorky.brokers.memory import MemoryBroker
from snorky.client import Peer
from snorky.envelope import Envelope
from snorky.metrics import metrics
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.services.joining import Joining
from snorky.services.keys import key_of, value_of
from snorky.topics import Topic, Topics, forget
from snorky.wire import canonical


class _Channel(Topic):
    __slots__ = ("members", "value")

    def __init__(self, name: str, key: str) -> None:
        super().__init__(name)
        self.value = value_of(key)
        self.members: dict[str, _Member] = {}


@dataclass(eq=False, slots=True)
class _Member:
    """An identity in a channel, with all its connections there."""

    channel: _Channel
    identity: Any
    key: str
    connections: dict[Peer, None] = field(default_factory=dict)


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
        self.has_own_broker = broker is not None
        self._memberships: dict[Peer, dict[str, _Member]] = {}
        self.use_broker(broker or MemoryBroker())

    def use_broker(self, broker: Broker) -> None:
        """Use another broker, before the first client comes."""
        self.broker = broker
        self._channels = Topics(
            broker, lambda name: _Channel(name, name.removeprefix(f"{self.name}/"))
        )
        self._joining = Joining(self._channels)

    def check_identity(self, client: Peer) -> None:
        """Raise RPCError where ``client`` may not chat, whatever the command."""
        if client.identity is None:
            raise RPCError("Not authenticated")

    def can_join(self, client: Peer, channel: Any) -> bool | Awaitable[bool]:
        """Say whether ``client`` may join. May be an ``async`` method."""
        return True

    def get_time(self) -> datetime | str:
        """The time for a notification. A text is sent as it is."""
        return datetime.now(UTC)

    @rpc_command
    def join(self, req: Request, channel: Any) -> Any:
        """Reply with the identities that are in the channel now."""
        client = req.client
        self.check_identity(client)
        name = self._name_of(channel)
        allowed = self.can_join(client, channel)
        return self._joining.join(client, name, allowed, lambda: self._join(client, name))

    @rpc_command
    def leave(self, req: Request, channel: Any) -> Awaitable[None] | None:
        """Leave the channel; the others hear of it with the identity's last connection."""
        client = req.client
        self.check_identity(client)
        name = self._name_of(channel)
        withdrawn = self._joining.withdraw(client, name)
        memberships = self._memberships.get(client, {})
        member = memberships.pop(name, None)
        if member is None:
            if not withdrawn:
                raise RPCError("Not joined")
            return None
        if not memberships:
            del self._memberships[client]
        done = self._remove(client, member)
        self._announce_if_gone(member)
        return done

    @rpc_command
    def send(self, req: Request, channel: Any, body: Any) -> Awaitable[None] | None:
        """Send ``body``, any JSON value, to everybody in the channel, the sender too."""
        self.check_identity(req.client)
        member = self._memberships.get(req.client, {}).get(self._name_of(channel))
        if member is None:
            raise RPCError("Not joined")
        joined = member.channel
        metrics.publications += 1
        message = {
            "type": "message",
            "from": req.client.identity,
            "channel": joined.value,
            "body": body,
            "timestamp": self._timestamp(),
        }
        return self.broker.publish(joined.name, Envelope(self.name, message))

    @rpc_command
    def read(self, req: Request, channel: Any) -> None:
        """Tell the other connections of the same identity that it has read the channel."""
        self.check_identity(req.client)
        joined = self._channels.get(self._name_of(channel))
        member = joined and joined.members.get(canonical(req.client.identity))
        if not joined or not member:
            return
        self.broadcast(
            [client for client in member.connections if client is not req.client],
            {"type": "read", "channel": joined.value, "timestamp": self._timestamp()},
        )

    def client_disconnected(self, client: Peer) -> None:
        self._joining.forget(client)
        memberships = self._memberships.pop(client, {})
        for member in memberships.values():
            forget(self._remove(client, member))
        for member in memberships.values():
            self._announce_if_gone(member)

    def _join(self, client: Peer, name: str) -> Any:
        memberships = self._memberships.get(client, {})
        if name in memberships:
            raise RPCError("Already joined")
        if len(memberships) >= self.limits.max_subscriptions:
            raise RPCError("Too many channels")
        channel = self._channels.get(name)
        assert channel is not None  # it is held for this client
        key = canonical(client.identity)
        member = channel.members.get(key)
        if member is None:
            member = _Member(channel, client.identity, key)
            # Before it is in: who joins is not told that it did.
            forget(self.broker.publish(name, self._presence(member, "joined")))
            channel.members[key] = member
        member.connections[client] = None
        channel.audience.add(client)
        memberships[channel.name] = member
        self._memberships[client] = memberships
        metrics.subscriptions += 1
        return {"members": [each.identity for each in channel.members.values()]}

    def _name_of(self, channel: Any) -> str:
        """The topic of a channel. Raises RPCError where it is too large."""
        most = self.limits.max_channel_bytes
        return f"{self.name}/{key_of(channel, most, 'Channel too large')}"

    def _timestamp(self) -> str:
        time = self.get_time()
        if isinstance(time, str):
            return time
        # Without a zone it is local time, as everywhere in Python.
        return (time if time.tzinfo else time.astimezone()).isoformat()

    def _remove(self, client: Peer, member: _Member) -> Awaitable[None] | None:
        metrics.subscriptions -= 1
        channel = member.channel
        channel.audience.remove(client)
        del member.connections[client]
        if not member.connections:
            del channel.members[member.key]
        return self._channels.release(channel)

    def _announce_if_gone(self, member: _Member) -> None:
        if not member.connections:
            forget(self.broker.publish(member.channel.name, self._presence(member, "left")))

    def _presence(self, member: _Member, status: Literal["joined", "left"]) -> Envelope:
        message = {
            "type": "presence",
            "from": member.identity,
            "channel": member.channel.value,
            "status": status,
            "timestamp": self._timestamp(),
        }
        return Envelope(self.name, message)
