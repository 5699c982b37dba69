"""Cursors: the clients of a document see where the others are in it."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec

from snorky.brokers import Broker
from snorky.client import Peer
from snorky.envelope import Envelope
from snorky.metrics import metrics
from snorky.processes import Processes
from snorky.rosters import Roster, Rosters, SharedTopic
from snorky.services.base import Request, RPCError, rpc_command
from snorky.services.joining import Joining
from snorky.services.keys import key_of, value_of
from snorky.services.sharing import SharedService
from snorky.topics import Topics, forget
from snorky.wire import canonical, encode


@dataclass(eq=False, slots=True)
class _Cursor:
    """A cursor of a client of this process."""

    document: _Document
    client: Peer
    data: dict[str, Any] = field(default_factory=dict)
    """What clients see of it. An update replaces the dict."""


@dataclass(eq=False, slots=True)
class _Session:
    """What one client has: documents by their topic, cursors by the text of their handle."""

    documents: dict[str, _Document] = field(default_factory=dict)
    cursors: dict[str, _Cursor] = field(default_factory=dict)


class CursorsService(SharedService):
    """Documents that clients join, with cursors in them that all of them see.

    Documents, positions and statuses are any JSON values. A client names its cursors by private
    handles, which it chooses itself; everybody else knows them by public ones. Processes that share
    ``broker`` share the documents.
    """

    def __init__(self, name: str, broker: Broker | None = None) -> None:
        super().__init__(name, broker)
        self._sessions: dict[Peer, _Session] = {}

    def _use(self, broker: Broker, processes: Processes) -> None:
        super()._use(broker, processes)
        self._rosters = Rosters(self.name, processes)
        self._documents = Topics(broker, lambda name: _Document(name, self, self._rosters))
        self._joining = Joining(self._documents)
        # Each process has two million handles of its own, below 2 ** 53 as JavaScript wants them.
        self._public_handles = count(1 if processes.broker is None else secrets.randbits(31) << 21)

    def check_identity(self, client: Peer) -> None:
        """Raise RPCError where ``client`` may not take part, whatever the command."""
        if client.identity is None:
            raise RPCError("Not authenticated")

    def can_join(self, client: Peer, document: Any) -> bool | Awaitable[bool]:
        """Say whether ``client`` may join. May be an ``async`` method."""
        return True

    def check_new_cursor_allowed(self, client: Peer) -> None:
        """Raise RPCError where ``client`` may not create one more cursor."""
        session = self._sessions.get(client)
        if session is not None and len(session.cursors) >= self.limits.max_cursors:
            raise RPCError("Too many cursors")

    @rpc_command
    def join(self, req: Request, document: Any) -> Any:
        """Reply with the cursors that are in the document now."""
        client = req.client
        self.check_identity(client)
        name = self._name_of(document)
        allowed = self.can_join(client, document)
        return self._joining.join(client, name, allowed, lambda: self._join(client, name))

    @rpc_command
    def leave(self, req: Request, document: Any) -> Awaitable[None] | None:
        """Leave the document, and take the client's cursors out of it."""
        client = req.client
        self.check_identity(client)
        name = self._name_of(document)
        withdrawn = self._joining.withdraw(client, name)
        session = self._sessions.get(client)
        joined = None if session is None else session.documents.pop(name, None)
        if session is None or joined is None:
            if not withdrawn:
                raise RPCError("Not joined")
            return None
        if not session.documents:
            del self._sessions[client]
        return self._remove_client(client, session, joined)

    @rpc_command
    def createCursor(
        self, req: Request, privateHandle: Any, document: Any, position: Any, status: Any
    ) -> int:
        """Reply with the public handle, which no other cursor of the document ever has."""
        client = req.client
        self.check_identity(client)
        session = self._sessions.get(client)
        joined = session and session.documents.get(self._name_of(document))
        if not session or not joined:
            raise RPCError("Not joined")
        handle = canonical(privateHandle)
        if handle in session.cursors:
            raise RPCError("Reused handle")
        self.check_new_cursor_allowed(client)
        public_handle = next(self._public_handles)
        data: dict[str, Any] = {
            "publicHandle": public_handle,
            "document": joined.value,
            "position": position,
            "status": status,
            "owner": client.identity,
        }
        cursor = _Cursor(joined, client)
        self._put(cursor, "cursorAdded", data, handle)
        session.cursors[handle] = cursor
        return public_handle

    @rpc_command
    def updateCursor(self, req: Request, privateHandle: Any, newData: dict[str, Any]) -> None:
        """Set ``position``, ``status`` or both of the client's own cursor."""
        self.check_identity(req.client)
        handle, cursor = self._own_cursor(req.client, privateHandle)
        changes = {key: newData[key] for key in ("position", "status") if key in newData}
        if not changes:
            return
        data = cursor.data | changes
        self._put(cursor, "cursorUpdated", data, handle)

    @rpc_command
    def removeCursor(self, req: Request, privateHandle: Any) -> None:
        """Take the client's own cursor out of its document."""
        self.check_identity(req.client)
        handle, cursor = self._own_cursor(req.client, privateHandle)
        del self._sessions[req.client].cursors[handle]
        cursor.document.take_out(cursor)

    def client_disconnected(self, client: Peer) -> None:
        self._joining.forget(client)
        session = self._sessions.pop(client, None)
        if session is None:
            return
        for document in session.documents.values():  # it is told of none of its cursors
            document.audience.remove(client)
        for document in session.documents.values():
            forget(self._remove_client(client, session, document))

    def _join(self, client: Peer, name: str) -> Any:
        session = self._sessions.get(client) or _Session()
        if name in session.documents:
            raise RPCError("Already joined")
        if len(session.documents) >= self.limits.max_subscriptions:
            raise RPCError("Too many documents")
        joined = self._documents.get(name)
        assert joined is not None  # it is held for this client
        joined.audience.add(client)
        session.documents[name] = joined
        self._sessions[client] = session
        metrics.subscriptions += 1
        return {"cursors": joined.list()}

    def _name_of(self, document: Any) -> str:
        """The topic of a document. Raises RPCError where it is too large."""
        most = self.limits.max_channel_bytes
        return f"{self.name}/{key_of(document, most, 'Document too large')}"

    def _put(self, cursor: _Cursor, kind: str, data: dict[str, Any], handle: str) -> None:
        """Show a cursor, or what is new of it.

        Everybody is sent a cursor at once, or with all others on joining: it has to be small, and
        they must not be too many. Raises RPCError.
        """
        shown = Envelope(self.name, {"type": kind, "cursor": data})
        if len(shown.text) + len(handle) > self.limits.max_cursor_bytes:
            raise RPCError("Cursor too large")
        cursor.document.put(cursor, data, shown)

    def _own_cursor(self, client: Peer, private_handle: Any) -> tuple[str, _Cursor]:
        session = self._sessions.get(client)
        handle = canonical(private_handle)
        cursor = session and session.cursors.get(handle)
        if not cursor:
            raise RPCError("No such cursor")
        return handle, cursor

    def _remove_client(
        self, client: Peer, session: _Session, document: _Document
    ) -> Awaitable[None] | None:
        metrics.subscriptions -= 1
        document.audience.remove(client)
        for handle, cursor in tuple(session.cursors.items()):
            if cursor.document is document:
                del session.cursors[handle]
                document.take_out(cursor)
        return self._documents.release(document)


class _Document(SharedTopic):
    """A document, with the cursors of all processes in it.

    A cursor of this process too is in it, and shown to the others, when it comes from the broker.
    """

    __slots__ = (
        "_bytes",
        "_cursors",
        "_listed",
        "_owners",
        "_roster",
        "_rosters",
        "_service",
        "_shown",
        "value",
    )

    def __init__(self, name: str, service: CursorsService, rosters: Rosters) -> None:
        super().__init__(name)
        self.deliver = self._receive
        self.value = value_of(name.removeprefix(f"{service.name}/"))
        self._cursors: dict[str, tuple[dict[str, Any], int]] = {}
        """By public handle: what is seen of it, and the size of that."""
        self._bytes = 0
        self._owners: dict[str, Peer] = {}
        """Of this process's cursors."""
        self._service = service
        self._rosters = rosters
        self._roster: Roster
        self._listed: msgspec.Raw | None = None
        """All cursors as everybody who joins is told them, since one last changed."""
        self._shown: Envelope | None = None
        """The notification of what is being put, where it comes back at once."""

    def learn(self) -> Awaitable[None] | None:
        self._roster = self._rosters.open(self.name, self._changed)
        return self._rosters.learn(self._roster)

    def end(self, broker: Broker) -> Awaitable[None] | None:
        self._rosters.close(self._roster)
        return super().end(broker)

    def put(self, cursor: _Cursor, data: dict[str, Any], shown: Envelope) -> None:
        """Take a cursor in, or what is new of it. Raises RPCError where they get too many."""
        key = str(data["publicHandle"])
        _, known_bytes = self._cursors.get(key, (None, 0))
        nbytes = self._bytes + len(shown.text) - known_bytes
        if nbytes > self._service.limits.max_listed_bytes:
            raise RPCError("Too many cursors in the document")
        cursor.data = data
        self._owners[key] = cursor.client
        self._shown = shown
        try:
            self._rosters.set(self._roster, key, data)
        finally:
            self._shown = None

    def take_out(self, cursor: _Cursor) -> None:
        self._rosters.set(self._roster, str(cursor.data["publicHandle"]), None)

    def list(self) -> msgspec.Raw:
        if self._listed is None:
            self._listed = msgspec.Raw(encode([data for data, _ in self._cursors.values()]))
        return self._listed

    def _receive(self, envelope: Envelope) -> None:
        self._rosters.receive(self._roster, envelope["message"])

    def _changed(self, process: str, key: str, before: Any, after: Any) -> None:
        data, nbytes = self._cursors.get(key, (before, 0))
        self._bytes -= nbytes
        self._listed = None
        if after is None:
            kind, shown = (
                "cursorRemoved",
                {part: data[part] for part in ("publicHandle", "document")},
            )
        else:
            kind, shown = "cursorAdded" if before is None else "cursorUpdated", after
        envelope = self._shown
        if envelope is None or envelope["message"]["cursor"] is not after:
            envelope = Envelope(self._service.name, {"type": kind, "cursor": shown})
        if after is not None:
            self._cursors[key] = after, len(envelope.text)
            self._bytes += len(envelope.text)
        else:
            self._cursors.pop(key, None)
        self._send_to_others(process, key, envelope)
        if after is None:
            self._owners.pop(key, None)

    def _send_to_others(self, process: str, key: str, envelope: Envelope) -> None:
        owner = self._owners.get(key) if process == self._service.processes.id else None
        if owner is None or owner not in self.audience:
            self.audience.send(envelope)
            return
        # Out and in again costs less than leaving the audience's joined writes for one client.
        self.audience.remove(owner)
        self.audience.send(envelope)
        self.audience.add(owner)
