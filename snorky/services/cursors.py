"""Cursors: the clients of a document see where the others are in it."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec

from snorky.audience import Audience
from snorky.client import Peer
from snorky.envelope import Envelope
from snorky.metrics import metrics
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.services.joining import Joining
from snorky.services.keys import key_of, value_of
from snorky.wire import canonical, encode


@dataclass(eq=False, slots=True)
class _Document:
    key: str
    value: Any
    audience: Audience = field(default_factory=Audience)
    clients: set[Peer] = field(default_factory=set)
    cursors: dict[int, _Cursor] = field(default_factory=dict)
    cursor_bytes: int = 0
    listed: msgspec.Raw | None = None
    """All cursors as everybody who joins is told them, since one last changed."""

    def put(self, cursor: _Cursor, data: dict[str, Any], nbytes: int) -> None:
        """Take a cursor in, or what is new of it."""
        self.cursor_bytes += nbytes - cursor.nbytes
        cursor.data, cursor.nbytes = data, nbytes
        self.cursors[data["publicHandle"]] = cursor
        self.listed = None

    def take_out(self, cursor: _Cursor) -> None:
        self.cursor_bytes -= cursor.nbytes
        del self.cursors[cursor.data["publicHandle"]]
        self.listed = None

    def list(self) -> msgspec.Raw:
        if self.listed is None:
            self.listed = msgspec.Raw(encode([cursor.data for cursor in self.cursors.values()]))
        return self.listed


@dataclass(eq=False, slots=True)
class _Cursor:
    document: _Document
    data: dict[str, Any] = field(default_factory=dict)
    """What clients see of it. An update replaces the dict."""
    nbytes: int = 0


@dataclass(eq=False, slots=True)
class _Session:
    """What one client has: documents by their canonical text, cursors by that of their handle."""

    documents: dict[str, _Document] = field(default_factory=dict)
    cursors: dict[str, _Cursor] = field(default_factory=dict)


class CursorsService(RPCService):
    """Documents that clients join, with cursors in them that all of them see.

    Documents, positions and statuses are any JSON values. A client names its cursors by private
    handles, which it chooses itself; everybody else knows them by public ones. A document is one
    of this process: its clients have to be connected to the same one.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._documents: dict[str, _Document] = {}
        self._sessions: dict[Peer, _Session] = {}
        self._joining = Joining()
        self._public_handles = count(1)

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
        key = self._key_of(document)
        allowed = self.can_join(client, document)
        return self._joining.join(client, key, allowed, lambda: self._join(client, key))

    @rpc_command
    def leave(self, req: Request, document: Any) -> None:
        """Leave the document, and take the client's cursors out of it."""
        client = req.client
        self.check_identity(client)
        key = self._key_of(document)
        withdrawn = self._joining.withdraw(client, key)
        session = self._sessions.get(client)
        joined = None if session is None else session.documents.pop(key, None)
        if session is None or joined is None:
            if not withdrawn:
                raise RPCError("Not joined")
            return
        if not session.documents:
            del self._sessions[client]
        self._send_removals(joined, self._remove_client(client, session, joined))

    @rpc_command
    def createCursor(
        self, req: Request, privateHandle: Any, document: Any, position: Any, status: Any
    ) -> int:
        """Reply with the public handle, which no other cursor of this process ever has."""
        client = req.client
        self.check_identity(client)
        session = self._sessions.get(client)
        joined = session and session.documents.get(self._key_of(document))
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
        added = self._notification("cursorAdded", data, handle)
        cursor = _Cursor(joined)
        self._put(cursor, data, added)
        session.cursors[handle] = cursor
        _send_to_others(joined, client, added)
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
        updated = self._notification("cursorUpdated", data, handle)
        self._put(cursor, data, updated)
        _send_to_others(cursor.document, req.client, updated)

    @rpc_command
    def removeCursor(self, req: Request, privateHandle: Any) -> None:
        """Take the client's own cursor out of its document."""
        self.check_identity(req.client)
        handle, cursor = self._own_cursor(req.client, privateHandle)
        del self._sessions[req.client].cursors[handle]
        cursor.document.take_out(cursor)
        _send_to_others(cursor.document, req.client, self._removal(cursor))

    def client_disconnected(self, client: Peer) -> None:
        self._joining.forget(client)
        session = self._sessions.pop(client, None)
        if session is None:
            return
        removed = [
            (document, self._remove_client(client, session, document))
            for document in session.documents.values()
        ]
        for document, cursors in removed:
            self._send_removals(document, cursors)

    def _join(self, client: Peer, key: str) -> Any:
        session = self._sessions.get(client) or _Session()
        if key in session.documents:
            raise RPCError("Already joined")
        if len(session.documents) >= self.limits.max_subscriptions:
            raise RPCError("Too many documents")
        joined = self._documents.get(key) or _Document(key, value_of(key))
        self._documents[joined.key] = joined
        joined.clients.add(client)
        joined.audience.add(client)
        session.documents[joined.key] = joined
        self._sessions[client] = session
        metrics.subscriptions += 1
        return {"cursors": joined.list()}

    def _key_of(self, document: Any) -> str:
        return key_of(document, self.limits.max_channel_bytes, "Document too large")

    def _put(self, cursor: _Cursor, data: dict[str, Any], shown: Envelope) -> None:
        """Raises RPCError where there would be too much to tell who joins."""
        document, nbytes = cursor.document, len(shown.text)
        if document.cursor_bytes + nbytes - cursor.nbytes > self.limits.max_listed_bytes:
            raise RPCError("Too many cursors in the document")
        document.put(cursor, data, nbytes)

    def _own_cursor(self, client: Peer, private_handle: Any) -> tuple[str, _Cursor]:
        session = self._sessions.get(client)
        handle = canonical(private_handle)
        cursor = session and session.cursors.get(handle)
        if not cursor:
            raise RPCError("No such cursor")
        return handle, cursor

    def _remove_client(self, client: Peer, session: _Session, document: _Document) -> list[_Cursor]:
        """Take a client out of a document, and return its cursors, which are out too."""
        metrics.subscriptions -= 1
        document.clients.remove(client)
        document.audience.remove(client)
        if not document.clients:
            del self._documents[document.key]
        removed = []
        for handle, cursor in tuple(session.cursors.items()):
            if cursor.document is document:
                del session.cursors[handle]
                document.take_out(cursor)
                removed.append(cursor)
        return removed

    def _notification(self, kind: str, cursor: Any, handle: str) -> Envelope:
        """Everybody is sent a cursor at once, or with all others on joining: it has to be small.

        Raises RPCError where it is not.
        """
        envelope = Envelope(self.name, {"type": kind, "cursor": cursor})
        if len(envelope.text) + len(handle) > self.limits.max_cursor_bytes:
            raise RPCError("Cursor too large")
        return envelope

    def _removal(self, cursor: _Cursor) -> Envelope:
        shown = {key: cursor.data[key] for key in ("publicHandle", "document")}
        return Envelope(self.name, {"type": "cursorRemoved", "cursor": shown})

    def _send_removals(self, document: _Document, cursors: Iterable[_Cursor]) -> None:
        for cursor in cursors:
            document.audience.send(self._removal(cursor))


def _send_to_others(document: _Document, client: Peer, envelope: Envelope) -> None:
    # Out and in again costs less than leaving the audience's joined writes for one client's sake.
    document.audience.remove(client)
    document.audience.send(envelope)
    document.audience.add(client)
