"""Messaging: who registered a name receives what others send to it."""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable
from typing import Any

from snorky.brokers import Broker
from snorky.client import Peer
from snorky.envelope import Envelope
from snorky.processes import Processes
from snorky.rosters import Roster, Rosters, SharedTopic
from snorky.services.base import Request, RPCError, rpc_command
from snorky.services.encoded import EncodedList
from snorky.services.joining import Joining
from snorky.services.sharing import SharedService
from snorky.topics import awaited, forget
from snorky.wire import encode

CLAIM_SECONDS = 30.0
"""How long a name is claimed for. By then all processes know that it is registered."""

_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Characters that show nothing though Unicode counts them among letters, marks or symbols; the
variation selectors are told by their name."""


class MessagingService(SharedService):
    """Participants that send messages to each other by name.

    A client may register several names. They belong to it until it unregisters them or
    disconnects.

    Processes that share ``broker`` share the names. Those of a process that died are free within 30
    seconds. Where processes cannot reach each other for longer, a name may be registered twice: its
    messages go to one of them, the sender's process first.
    """

    def __init__(self, name: str, broker: Broker | None = None) -> None:
        super().__init__(name, broker)
        self._clients_by_name: dict[str, Peer] = {}
        self._names_by_client: dict[Peer, set[str]] = {}
        self._claimed: set[str] = set()
        """Names that other processes know of, or are about to."""
        self._joining = Joining()
        self._listed: EncodedList | None = None
        """The names in order, since they last changed."""
        self._listed_bytes = 0

    def _use(self, broker: Broker, processes: Processes) -> None:
        super()._use(broker, processes)
        rosters = Rosters(self.name, processes)
        self._registry = _Names(f"{self.name}!names", rosters, self._names_changed)

    async def start(self) -> None:
        await super().start()
        if self.processes.broker is not None:
            await awaited(self.broker.subscribe(self._inbox(self.processes.id), self._deliver))
            await awaited(self._registry.begin(self.broker))

    async def stop(self) -> None:
        if self.processes.broker is not None:
            await awaited(self.broker.unsubscribe(self._inbox(self.processes.id), self._deliver))
            await awaited(self._registry.end(self.broker))
        await super().stop()

    def is_name_allowed(self, client: Peer, name: str) -> bool | Awaitable[bool]:
        """Say whether ``client`` may register ``name``, which is free. May be ``async``."""
        return True

    @rpc_command
    def registerParticipant(self, req: Request, name: str) -> Awaitable[None] | None:
        """Receive from now on what is sent to ``name``, which nobody else has."""
        if len(name) > self.limits.max_name_length:
            raise RPCError("Name too long")
        if not _is_visible(name):
            raise RPCError("Name is empty or invisible")
        if self._is_taken(name):
            raise RPCError("Name already registered")
        client = req.client
        registered: Awaitable[None] | None = self._joining.join(
            client,
            name,
            self.is_name_allowed(client, name),
            lambda: self._register(client, name),
            "Name not allowed",
        )
        return registered

    @rpc_command
    def unregisterParticipant(self, req: Request, name: str) -> None:
        """Give back a name of this client's."""
        withdrawn = self._joining.withdraw(req.client, name)
        if name in self._names_by_client.get(req.client, ()):
            self._forget_name(req.client, name)
        elif not withdrawn:
            taken = self._is_taken(name)
            raise RPCError("Invalid participant" if taken else "Unknown participant")

    @rpc_command
    def listParticipants(self, req: Request) -> list[str]:
        """Reply with the names that are registered, in order."""
        if self._listed_bytes > self.limits.max_listed_bytes:
            raise RPCError("Too many participants")
        if self._listed is None:
            self._listed = EncodedList(sorted({*self._clients_by_name, *self._registry.elsewhere}))
        return self._listed

    @rpc_command
    def send(self, req: Request, sender: str, dest: str, body: Any) -> Awaitable[None] | None:
        """Send ``body``, any JSON value, as ``sender``, a name of this client's, to ``dest``."""
        if sender not in self._names_by_client.get(req.client, ()):
            raise RPCError("Invalid sender")
        message = {"type": "message", "sender": sender, "dest": dest, "body": body}
        client = self._clients_by_name.get(dest)
        if client is not None:
            self.send_message_to(client, message)
            return None
        processes = self._registry.elsewhere.get(dest)
        if not processes:
            raise RPCError("Unknown destination")
        return self.broker.publish(self._inbox(next(iter(processes))), Envelope(self.name, message))

    def client_disconnected(self, client: Peer) -> None:
        self._joining.forget(client)
        for name in self._names_by_client.pop(client, ()):
            self._remove(name)

    def _is_taken(self, name: str) -> bool:
        return name in self._clients_by_name or name in self._registry.elsewhere

    def _claim_of(self, name: str) -> str:
        return f"{self.name}!name/{name}"

    def _inbox(self, process: str) -> str:
        return f"{self.name}!inbox/{process}"

    def _deliver(self, envelope: Envelope) -> None:
        """What was sent in another process."""
        client = self._clients_by_name.get(envelope["message"]["dest"])
        if client is not None:
            client.send(envelope)

    def _register(self, client: Peer, name: str) -> Awaitable[None] | None:
        if self._is_taken(name):  # somebody was quicker
            raise RPCError("Name already registered")
        names = self._names_by_client.get(client, set())
        if len(names) >= self.limits.max_names:
            raise RPCError("Too many names")
        names.add(name)
        self._names_by_client[client] = names
        self._clients_by_name[name] = client
        self._names_changed(name, 1)
        return None if self.processes.broker is None else self._claim(client, name)

    async def _claim(self, client: Peer, name: str) -> None:
        """Let no other process register the name before it knows that it is taken."""
        claimed = False
        try:
            claimed = await awaited(self.broker.claim(self._claim_of(name), CLAIM_SECONDS))
        finally:
            still_there = self._clients_by_name.get(name) is client
            if claimed and still_there:
                self._claimed.add(name)
                self._registry.set(name, True)
            elif claimed:  # it has unregistered meanwhile
                forget(self.broker.delete(self._claim_of(name)))
            elif still_there:
                self._forget_name(client, name)
        if not claimed:
            raise RPCError("Name already registered")

    def _forget_name(self, client: Peer, name: str) -> None:
        names = self._names_by_client[client]
        names.remove(name)
        if not names:
            del self._names_by_client[client]
        self._remove(name)

    def _remove(self, name: str) -> None:
        del self._clients_by_name[name]
        self._names_changed(name, -1)
        if name in self._claimed:
            self._claimed.remove(name)
            self._registry.set(name, None)
            forget(self.broker.delete(self._claim_of(name)))

    def _names_changed(self, name: str, by: int) -> None:
        self._listed = None
        self._listed_bytes += by * (len(encode(name)) + 1)


class _Names(SharedTopic):
    """The names of all processes."""

    def __init__(self, name: str, rosters: Rosters, changed: Callable[[str, int], None]) -> None:
        super().__init__(name)
        self.deliver = self._receive
        self.elsewhere: dict[str, dict[str, None]] = {}
        """By name, the other processes that have it: one, as a rule."""
        self._rosters = rosters
        self._tell = changed
        self._roster: Roster | None = None

    def learn(self) -> Awaitable[None] | None:
        self._roster = self._rosters.open(self.name, self._changed)
        return self._rosters.learn(self._roster)

    def end(self, broker: Broker) -> Awaitable[None] | None:
        if self._roster is not None:
            self._rosters.close(self._roster)
            self._roster = None
        for name in tuple(self.elsewhere):
            del self.elsewhere[name]
            self._tell(name, -1)
        return super().end(broker)

    def set(self, name: str, value: bool | None) -> None:
        if self._roster is not None:
            self._rosters.set(self._roster, name, value)

    def _receive(self, envelope: Envelope) -> None:
        if self._roster is not None:
            self._rosters.receive(self._roster, envelope["message"])

    def _changed(self, process: str, name: str, before: Any, after: Any) -> None:
        if process == self._rosters.processes.id:
            return
        if after:
            self.elsewhere.setdefault(name, {})[process] = None
            self._tell(name, 1)
        else:
            processes = self.elsewhere[name]
            del processes[process]
            if not processes:
                del self.elsewhere[name]
            self._tell(name, -1)


def _is_visible(name: str) -> bool:
    """Whether a reader sees anything of it."""
    return any(
        unicodedata.category(character)[0] not in "CZ"
        and character not in _BLANK
        and not unicodedata.name(character, "").startswith("VARIATION SELECTOR")
        for character in name
    )
