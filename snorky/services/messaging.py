"""Messaging: who registered a name receives what others send to it."""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable
from typing import Any

from snorky.client import Peer
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.services.encoded import EncodedList
from snorky.services.joining import Joining
from snorky.wire import encode

_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Characters that show nothing though Unicode counts them among letters, marks or symbols; the
variation selectors are told by their name."""


class MessagingService(RPCService):
    """Participants that send messages to each other by name.

    A client may register several names. They belong to it until it unregisters them or
    disconnects. The names are those of this process: participants of one service have to be
    connected to the same one.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._clients_by_name: dict[str, Peer] = {}
        self._names_by_client: dict[Peer, set[str]] = {}
        self._joining = Joining()
        self._listed: EncodedList | None = None
        """The names in order, since they last changed."""
        self._listed_bytes = 0

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
        if name in self._clients_by_name:
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
        names = self._names_by_client.get(req.client, set())
        if name in names:
            names.remove(name)
            if not names:
                del self._names_by_client[req.client]
            self._remove(name)
        elif not withdrawn:
            known = name in self._clients_by_name
            raise RPCError("Invalid participant" if known else "Unknown participant")

    @rpc_command
    def listParticipants(self, req: Request) -> list[str]:
        """Reply with the names that are registered, in order."""
        if self._listed_bytes > self.limits.max_listed_bytes:
            raise RPCError("Too many participants")
        if self._listed is None:
            self._listed = EncodedList(sorted(self._clients_by_name))
        return self._listed

    @rpc_command
    def send(self, req: Request, sender: str, dest: str, body: Any) -> None:
        """Send ``body``, any JSON value, as ``sender``, a name of this client's, to ``dest``."""
        if sender not in self._names_by_client.get(req.client, ()):
            raise RPCError("Invalid sender")
        if dest not in self._clients_by_name:
            raise RPCError("Unknown destination")
        message = {"type": "message", "sender": sender, "dest": dest, "body": body}
        self.send_message_to(self._clients_by_name[dest], message)

    def client_disconnected(self, client: Peer) -> None:
        self._joining.forget(client)
        for name in self._names_by_client.pop(client, ()):
            self._remove(name)

    def _register(self, client: Peer, name: str) -> None:
        if name in self._clients_by_name:  # somebody was quicker
            raise RPCError("Name already registered")
        names = self._names_by_client.get(client, set())
        if len(names) >= self.limits.max_names:
            raise RPCError("Too many names")
        names.add(name)
        self._names_by_client[client] = names
        self._clients_by_name[name] = client
        self._listed = None
        self._listed_bytes += len(encode(name)) + 1

    def _remove(self, name: str) -> None:
        del self._clients_by_name[name]
        self._listed = None
        self._listed_bytes -= len(encode(name)) + 1


def _is_visible(name: str) -> bool:
    """Whether a reader sees anything of it."""
    return any(
        unicodedata.category(character)[0] not in "CZ"
        and character not in _BLANK
        and not unicodedata.name(character, "").startswith("VARIATION SELECTOR")
        for character in name
    )
