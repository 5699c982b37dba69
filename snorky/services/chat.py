"""Chat: channels whose members see who is there, and what they say."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from snorky.brokers import Broker
from snorky.client import Peer
from snorky.envelope import Envelope
from snorky.metrics import metrics
from snorky.patterns import matches
from snorky.presence import Presence, Status
from snorky.processes import Processes
from snorky.rosters import Rosters, SharedTopic
from snorky.services.base import Request, RPCError, rpc_command
from snorky.services.joining import Joining
from snorky.services.keys import key_of, value_of
from snorky.services.listing import Listing, ListingBackend
from snorky.services.sharing import SharedService
from snorky.topics import Topics, forget
from snorky.wire import canonical


class ChatService(SharedService):
    """Channels that identities join, over as many connections as they like.

    Channels and identities are any JSON values, and equal if they are equal as JSON. A member is
    who the client was when it joined.

    Processes that share ``broker`` are one chat: a member is there whichever of them it is
    connected to, joins with its first connection and leaves with its last, wherever those are. The
    members of a process that died are gone within 30 seconds.

    ``count_only``: channels, or patterns such as ``lobby/*``, whose members are told how many they
    are instead of who.
    """

    def __init__(
        self, name: str, broker: Broker | None = None, *, count_only: Iterable[str] = ()
    ) -> None:
        super().__init__(name, broker)
        self.count_only = tuple(count_only)
        self._memberships: dict[Peer, dict[str, _Member]] = {}

    def _use(self, broker: Broker, processes: Processes) -> None:
        super()._use(broker, processes)
        self._rosters = Rosters(self.name, processes)
        self._channels = Topics(broker, lambda name: _Channel(name, self, self._rosters))
        self._joining = Joining(self._channels)
        self.listing = Listing(processes, self._channels_here, self._members_here)

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
        if name in self._memberships.get(client, {}):
            return self._leave(client, name)
        if not withdrawn:
            raise RPCError("Not joined")
        return None

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
    def read(self, req: Request, channel: Any) -> Awaitable[None] | None:
        """Tell the other connections of the same identity that it has read the channel."""
        self.check_identity(req.client)
        name, key = self._name_of(channel), canonical(req.client.identity)
        joined = self._channels.get(name)
        mark = {"read": key, "from": self.processes.id, "timestamp": self._timestamp()}
        if joined is not None:
            joined.mark_read(key, mark["timestamp"], req.client)
        if self.processes.broker is None:
            return None
        return self.broker.publish(name, Envelope(self._rosters.control, mark))

    def add_client(self, client: Peer, channel: Any) -> Any:
        """Let a client join that has not asked for it, and tell it.

        ``can_join`` is not asked. Returns None, or an awaitable. Raises RPCError.
        """
        name = self._name_of(channel)
        if name in self._memberships.get(client, {}):
            return None
        self.check_identity(client)
        return self._joining.join(client, name, True, lambda: self._add(client, channel, name))

    def remove_client(self, client: Peer, channel: Any) -> Awaitable[None] | None:
        """Take a client out, and tell it; nothing happens where it has not joined."""
        name = self._name_of(channel)
        self._joining.withdraw(client, name)
        if name not in self._memberships.get(client, {}):
            return None
        done = self._leave(client, name)
        self.send_message_to(client, {"type": "unsubscribed", "channel": channel})
        return done

    def client_disconnected(self, client: Peer) -> None:
        self._joining.forget(client)
        with ExitStack() as stack:  # all of them, also where a clock of the application's fails
            for member in self._memberships.pop(client, {}).values():
                stack.callback(self._remove_and_forget, client, member)

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
            self._timestamp()  # it may fail, and then nobody has joined
            member = channel.members[key] = _Member(channel, key)
        channel.presence.enter(key)
        member.connections[client] = None
        channel.audience.add(client)
        memberships[channel.name] = member
        self._memberships[client] = memberships
        metrics.subscriptions += 1
        return channel.presence.told(key)

    def _add(self, client: Peer, channel: Any, name: str) -> None:
        told = self._join(client, name)
        self.send_message_to(client, {"type": "subscribed", "channel": channel, **told})

    def _leave(self, client: Peer, name: str) -> Awaitable[None] | None:
        memberships = self._memberships[client]
        member = memberships.pop(name)
        if not memberships:
            del self._memberships[client]
        return self._remove(client, member)

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
        try:
            channel.presence.leave(member.key)
        finally:
            left = self._channels.release(channel)
        return left

    def _remove_and_forget(self, client: Peer, member: _Member) -> None:
        forget(self._remove(client, member))

    def _channels_here(self) -> Iterable[tuple[str, int]]:
        for channel in self._channels:
            if channel.audience:
                yield self._key_of(channel.name), len(channel.audience)

    def _members_here(self, key: str) -> dict[str, int]:
        channel = self._channels.get(f"{self.name}/{key}")
        members = {} if channel is None else channel.members
        return {member.key: len(member.connections) for member in members.values()}

    def _key_of(self, name: str) -> str:
        return name.removeprefix(f"{self.name}/")


class ChatBackend(ListingBackend):
    """Lets trusted servers see who is where in ``frontend``, in all its processes."""

    def __init__(self, name: str, frontend: ChatService) -> None:
        super().__init__(name, frontend)


@dataclass(eq=False, slots=True)
class _Member:
    """An identity in a channel, with all its connections to this process."""

    channel: _Channel
    key: str
    connections: dict[Peer, None] = field(default_factory=dict)


class _Channel(SharedTopic):
    """A channel: it tells its members of each other."""

    __slots__ = ("_chat", "_rosters", "members", "presence", "value")

    def __init__(self, name: str, chat: ChatService, rosters: Rosters) -> None:
        super().__init__(name)
        self.value = value_of(chat._key_of(name))
        self.deliver = self._receive
        self.members: dict[str, _Member] = {}
        self.presence: Presence
        """Who is here, in all processes; from when this one is subscribed."""
        self._chat = chat
        self._rosters = rosters

    def learn(self) -> Awaitable[None] | None:
        count_only = matches(self.value, self._chat.count_only)
        limits = self._chat.limits
        self.presence = Presence(self.name, self._rosters, self, limits, count_only=count_only)
        return self.presence.learn()

    def end(self, broker: Broker) -> Awaitable[None] | None:
        self.presence.close()
        return super().end(broker)

    def mark_read(self, key: str, timestamp: str, by: Peer | None) -> None:
        member = self.members.get(key)
        if member is not None:
            self._chat.broadcast(
                [client for client in member.connections if client is not by],
                {"type": "read", "channel": self.value, "timestamp": timestamp},
            )

    def _receive(self, envelope: Envelope) -> None:
        if envelope["service"] != self._rosters.control:
            self.audience.send(envelope)
            return
        message = envelope["message"]
        if "read" not in message:
            self.presence.receive(message)
        elif message["from"] != self._chat.processes.id:
            self.mark_read(message["read"], message["timestamp"], None)

    # As its presence's watcher

    def identity_came_or_went(self, key: str, status: Status) -> None:
        own = self.members.get(key)
        # Who joins or leaves is not told that it did. Out and in again costs less than leaving the
        # audience's joined writes for its sake.
        connections = () if own is None else tuple(own.connections)
        for client in connections:
            self.audience.remove(client)
        self._tell({"from": value_of(key), "channel": self.value, "status": status})
        for client in connections:
            self.audience.add(client)

    def count_changed(self) -> None:
        self._tell({"count": self.presence.told()["count"]})

    def members_listed(self) -> None:
        self._tell(self.presence.told())

    def _tell(self, news: dict[str, Any]) -> None:
        timestamp = self._chat._timestamp()
        message = {"type": "presence", **news, "channel": self.value, "timestamp": timestamp}
        self.audience.send(Envelope(self._chat.name, message))
