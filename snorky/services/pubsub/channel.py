"""A channel with options, in this process: how it is received, and what a newcomer is told."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Any

from snorky.brokers import Broker, Entry, Position
from snorky.client import Peer
from snorky.envelope import Envelope
from snorky.limits import Limits
from snorky.past import EPOCH, NO_HISTORY, Missed, Pasts
from snorky.presence import Presence, Status
from snorky.rosters import Rosters, SharedTopic
from snorky.services.keys import value_of
from snorky.services.pubsub.conflation import Conflation
from snorky.services.pubsub.options import ChannelOptions
from snorky.wire import canonical

ANONYMOUS = canonical(None)


class Channel(SharedTopic):
    """One channel that has options. ``service`` is the name that clients know its service by."""

    __slots__ = (
        "_clients",
        "_conflation",
        "_keys",
        "_limits",
        "_options",
        "_pasts",
        "_rosters",
        "_sent",
        "_service",
        "key",
        "presence",
        "value",
    )

    def __init__(
        self,
        name: str,
        service: str,
        options: ChannelOptions,
        pasts: Pasts | None,
        rosters: Rosters,
        limits: Limits,
    ) -> None:
        super().__init__(name)
        self.deliver = self._receive
        self.key = name.removeprefix(f"{service}/")
        self.value = value_of(self.key)
        self.presence: Presence | None = None
        self._service = service
        self._options = options
        self._pasts = None if options.history is None else pasts
        self._rosters = rosters
        self._limits = limits
        self._sent: Position | None = None
        """Up to where everything was sent that is in the past; None: nothing waits."""
        self._conflation = (
            None if options.conflate is None else Conflation(options.conflate, self._send_all)
        )
        self._keys: dict[Peer, str] = {}
        """Of who is told to be there: an identity is what it was when it came."""
        self._clients: dict[str, dict[Peer, None]] = {}
        """The same, by key."""

    # As a topic: messages come from the log where there is one; who is there, on the topic

    def begin(self, broker: Broker) -> Awaitable[None] | None:
        return super().begin(broker) if self._has_topic else None

    def learn(self) -> Awaitable[None] | None:
        if self._options.presence is None:
            return None
        count_only = self._options.presence == "count"
        self.presence = Presence(
            self.name,
            self._rosters,
            self,
            self._limits,
            count_only=count_only,
            anonymous=ANONYMOUS,
        )
        return self.presence.learn()

    def end(self, broker: Broker) -> Awaitable[None] | None:
        if self._conflation is not None:
            self._conflation.close()
        if self.presence is not None:
            self.presence.close()
        return super().end(broker) if self._has_topic else None

    @property
    def has_past(self) -> bool:
        return self._pasts is not None

    @property
    def _has_topic(self) -> bool:
        return self._options.presence is not None or self._pasts is None

    # Subscribers

    def enter(self, client: Peer, since: str | None) -> dict[str, Any]:
        """Let a client in, and return what it is told."""
        told: dict[str, Any] = {}
        if self._pasts is not None:
            told["position"] = str(self._sent or self._pasts.log.head)
            if since is not None:
                told |= self._missed(self._pasts, since)
        elif since is not None:
            told |= {"recovered": False, "reason": NO_HISTORY}
        if self.presence is not None:
            key = self._keys[client] = canonical(getattr(client, "identity", None))
            self._clients.setdefault(key, {})[client] = None
            self.presence.enter(key)
            told |= self.presence.told(key)
        self.audience.add(client)
        return told

    def leave(self, client: Peer) -> None:
        self.audience.remove(client)
        key = self._keys.pop(client, None)
        if key is not None and self.presence is not None:
            clients = self._clients[key]
            del clients[client]
            if not clients:
                del self._clients[key]
            self.presence.leave(key)

    def _missed(self, pasts: Pasts, since: str) -> dict[str, Any]:
        try:
            entries = pasts.missed(self.key, since)
        except Missed as missed:
            return {"recovered": False, "reason": str(missed)}
        if self._sent is not None:  # what waits comes to everybody
            entries = [each for each in entries if each.position.seq <= self._sent.seq]
        if self._conflation is not None:
            newest: dict[str | None, Entry] = {}
            for entry in entries:
                key = self._conflation.key_of(entry.data[1])
                newest.pop(key, None)
                newest[key] = entry
            entries = list(newest.values())
        return {"recovered": True, "messages": told_later(self.value, entries)}

    def send_waiting(self) -> None:
        """Send what is conflated, without waiting any longer."""
        if self._conflation is not None:
            self._conflation.send_now()

    # What comes

    def _receive(self, envelope: Envelope) -> None:
        if envelope["service"] == self._rosters.control:
            if self.presence is not None:
                self.presence.receive(envelope["message"])
        elif self._conflation is not None:
            self._conflation.take(envelope["message"]["message"], envelope)
        else:
            self.audience.send(envelope)

    def message_came(self, before: Position, position: Position, message: Any) -> None:
        """A message from the log, and the position before it."""
        if self._conflation is not None:
            if self._sent is None:
                self._sent = before
            self._conflation.take(message, (position, message))
        elif self.audience:
            self._send(position, message)

    def past_lost(self, position: Position) -> None:
        """Messages were lost; those that come continue this position."""
        if self._pasts is None:
            return
        self.send_waiting()
        message = {"type": "missed", "channel": self.value, "reason": EPOCH}
        self.audience.send(Envelope(self._service, {**message, "position": str(position)}))

    def _send_all(self, items: list[Any]) -> None:
        self._sent = None  # nothing waits any more
        for item in items:
            if isinstance(item, Envelope):
                self.audience.send(item)
            else:
                self._send(*item)

    def _send(self, position: Position, message: Any) -> None:
        self.audience.send(Envelope(self._service, notification(self.value, position, message)))

    # As its presence's watcher

    def identity_came_or_went(self, key: str, status: Status) -> None:
        own = [client for client in self._clients.get(key, ()) if client in self.audience]
        for client in own:  # who comes or goes is not told that it did
            self.audience.remove(client)
        self._tell({"from": value_of(key), "status": status})
        for client in own:
            self.audience.add(client)

    def count_changed(self) -> None:
        if self.presence is not None:
            self._tell({"count": self.presence.told()["count"]})

    def members_listed(self) -> None:
        if self.presence is not None:
            self._tell(self.presence.told())

    def _tell(self, news: dict[str, Any]) -> None:
        message = {"type": "presence", "channel": self.value, **news}
        self.audience.send(Envelope(self._service, message))


def notification(channel: Any, position: Position, message: Any) -> dict[str, Any]:
    """A message of a channel with a past, as subscribers are told, in time or later."""
    return {"type": "message", "channel": channel, "message": message, "position": str(position)}


def told_later(channel: Any, entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """What somebody missed."""
    return [notification(channel, each.position, each.data[1]) for each in entries]
