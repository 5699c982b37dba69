"""The clients that receive the same messages: a channel, the subscribers of a list.

Frames are not written to each client as they come. They wait until the event loop's turn
ends, are joined, and each client gets one write, so that a burst of a thousand messages to a
thousand clients is a thousand writes, not a million. No latency is added: a turn ends when
what is ready now has been handled.

The order that is promised: within an audience, and between an audience and the messages sent
to one of its clients alone. Between two audiences nothing is promised.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from snorky.client import Peer
from snorky.envelope import Envelope
from snorky.fanout import write_to_all
from snorky.metrics import metrics
from snorky.turn import Line

MAX_PENDING_BYTES = 256 * 1024
"""Frames of one audience that may wait; past it they are written at once. Who publishes more
than that in one turn waits for its own fan-out, instead of filling the memory."""


_EMPTY: dict[Any, Any] = {}
_NO_FRAMES: list[bytes] = []
"""Nothing is put into these."""


Member = TypeVar("Member")
Members = dict[Member, None] | tuple[()] | tuple[Member]
"""Those in an audience, in the order in which they came."""


def _with(members: Members[Member], member: Member) -> Members[Member]:
    if not members:
        return (member,)
    if isinstance(members, tuple):
        members = dict.fromkeys(members)
    members[member] = None
    return members


def _without(members: Members[Member], member: Member) -> Members[Member]:
    if isinstance(members, tuple):
        return () if member in members else members
    members.pop(member, None)
    return members


class _Batch:
    """Frames on their way to more clients than one turn serves."""

    __slots__ = ("_early", "_next", "_places", "_receivers", "_seen", "frames", "joined")

    def __init__(self, frames: list[bytes], seen: dict[Line, int], receivers: list[Line]) -> None:
        self.frames = frames
        self.joined = b"".join(frames)
        self._seen = seen
        self._receivers = receivers
        self._next = 0
        self._early: set[Line] = set()
        self._places: dict[Line, int] | None = None

    def __len__(self) -> int:
        """How many receivers are left; those that were served early still count."""
        return len(self._receivers) - self._next

    def write(self, most: int) -> int:
        """Write to at most ``most`` clients; return to how many."""
        receivers = self._receivers[self._next : self._next + most]
        self._next += len(receivers)
        metrics.messages_sent += len(self.frames) * len(receivers)
        if self._seen or self._early:
            write_to_all([each for each in receivers if not self._write_unseen(each)], self.joined)
        else:
            write_to_all(receivers, self.joined)
        return len(receivers)

    def _write_unseen(self, connection: Line) -> bool:
        """Write what a client has not seen, unless that is everything."""
        if connection in self._early:
            metrics.messages_sent -= len(self.frames)
            return True
        seen_frames = self._seen.get(connection, 0)
        if seen_frames == 0:
            return False
        metrics.messages_sent -= seen_frames
        if seen_frames < len(self.frames):
            connection.write(b"".join(self.frames[seen_frames:]))
        return True

    def take_share(self, connection: Line) -> list[bytes]:
        """What a client waits for; it counts as written to it."""
        if self._places is None:  # asked for the first time: most batches never are
            self._places = {each: place for place, each in enumerate(self._receivers)}
        if self._places.get(connection, -1) < self._next or connection in self._early:
            return []
        self._early.add(connection)
        return self.frames[self._seen.get(connection, 0) :]


class Audience:
    """Clients that all receive what is given to ``send``.

    Clients with a WebSocket connection of ours get it when the turn ends; any other object with
    ``send`` gets it at once. All connections of an audience belong to one event loop.
    """

    __slots__ = ("__weakref__", "_batch", "_connections", "_others", "_pending", "_seen", "_size")

    def __init__(self) -> None:
        # There may be as many of these as clients: whoever is alone is in no table.
        self._connections: Members[Line] = ()
        self._others: Members[Any] = ()
        self._pending: list[bytes] = _NO_FRAMES
        self._size = 0
        # How many of the pending frames a client must not get (again): it joined after them,
        # or they were written to it before a message of its own. Absent means 0.
        self._seen: dict[Line, int] = _EMPTY
        self._batch: _Batch | None = None

    def __len__(self) -> int:
        return len(self._connections) + len(self._others)

    def __iter__(self) -> Iterator[Any]:
        for connection in self._connections:
            yield connection.client
        yield from self._others

    def __contains__(self, client: Peer) -> bool:
        connection = getattr(client, "connection", None)
        return client in self._others if connection is None else connection in self._connections

    def add(self, client: Peer) -> None:
        """Let ``client`` receive what is sent from now on. Once, however often it is added."""
        connection = getattr(client, "connection", None)
        if connection is None:
            if client not in self._others and getattr(client, "connected", True):
                self._others = _with(self._others, client)
        elif connection not in self._connections:
            self._connections = _with(self._connections, connection)
            connection.audiences.add(self)
            if self._pending:
                self._has_seen_all(connection)

    def remove(self, client: Peer) -> None:
        """Let ``client`` receive nothing more; what was sent before, it still gets."""
        connection = getattr(client, "connection", None)
        if connection is None:
            self._others = _without(self._others, client)
        else:
            self.remove_connection(connection)

    def remove_connection(self, connection: Line) -> None:
        if connection in self._connections:
            connection.send_share(self.take_share(connection))
            self._connections = _without(self._connections, connection)
            self._seen.pop(connection, None)
            connection.audiences.discard(self)

    def send(self, envelope: Envelope) -> None:
        """Send to every client, those that join later excepted."""
        if self._connections:
            frame = envelope.frame
            if not self.is_dirty:
                next(iter(self._connections)).turn.mark_dirty(self)
            if self._pending:
                self._pending.append(frame)
            else:
                self._pending = [frame]
            self._size += len(frame)
            if self._size > MAX_PENDING_BYTES:
                self._write_now()
        for client in tuple(self._others):
            client.send(envelope)

    @property
    def is_dirty(self) -> bool:
        """True while frames wait to be written."""
        return bool(self._pending) or self._batch is not None

    def flush(self, budget: int) -> int:
        """Write what waits, to at most ``budget`` clients; return what is left of the budget."""
        batch = self._batch
        if batch is None:
            frames, self._pending = self._pending, _NO_FRAMES
            seen, self._seen = self._seen, _EMPTY
            self._size = 0
            receivers = len(self._connections)
            if not seen and receivers <= budget:
                joined = b"".join(frames) if len(frames) != 1 else frames[0]
                write_to_all(self._connections, joined)
                metrics.messages_sent += len(frames) * receivers
                return budget - max(receivers, 1)
            batch = self._batch = _Batch(frames, seen, list(self._connections))
        budget -= batch.write(budget)
        if not batch:
            self._batch = None
        return budget

    def take_share(self, connection: Line) -> bytes:
        """Return what waits for one client, joined; it counts as written to it."""
        share: list[bytes] = []
        batch = self._batch
        if batch is not None:
            share += batch.take_share(connection)
        if self._pending:
            share += self._pending[self._seen.get(connection, 0) :]
            self._has_seen_all(connection)
        metrics.messages_sent += len(share)
        return b"".join(share)

    def _has_seen_all(self, connection: Line) -> None:
        if self._seen is _EMPTY:
            self._seen = {}
        self._seen[connection] = len(self._pending)

    def _write_now(self) -> None:
        turn = next(iter(self._connections)).turn
        if turn.corked is not None:
            # Its collected replies are older than what is written now.
            turn.corked.write_cork()
        while self.is_dirty:
            self.flush(len(self._connections))
