"""What has to be written before a turn of the event loop ends, and by whom.

Audiences and connections meet here: neither knows the other, both know the turn.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from typing import Any, Protocol

RECEIVERS_PER_TURN = 500
"""Clients written to before other work gets its turn, three to six milliseconds: so long waits who
calls during a fan-out to fifty thousand clients."""


class Line(Protocol):
    """A connection, as an audience sees it."""

    turn: Turn
    client: Any
    """Who is at the other end, as services know him."""

    @property
    def audiences(self) -> set[Any]:
        """The audiences it belongs to; they enter and leave themselves."""

    def write(self, data: bytes) -> None:
        """Write at once, whatever is collected; who has too much waiting is cut off."""

    def send_share(self, share: bytes) -> None:
        """Send what an audience held for this client."""

    def write_cork(self) -> None:
        """Write the replies collected while this connection's input is handled."""


class Shared(Protocol):
    """An audience, as a turn and the connections in it see it."""

    @property
    def is_dirty(self) -> bool:
        """True while frames wait to be written."""

    def flush(self, budget: int) -> int:
        """Write what waits, to at most ``budget`` clients; return what is left of the budget."""

    def take_share(self, connection: Any) -> bytes:
        """Return what waits for one client, joined; it counts as written to it."""

    def remove_connection(self, connection: Any) -> None: ...


class Turn:
    """What has to be written before this turn of an event loop ends. One per loop."""

    __slots__ = ("_loop", "_scheduled", "cork", "cork_bytes", "corked", "dirty")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._scheduled = False
        self.dirty: deque[Shared] = deque()
        self.corked: Line | None = None
        """The connection whose input is being handled; its output is collected in ``cork``."""
        self.cork: list[bytes] = []
        self.cork_bytes = 0

    def mark_dirty(self, audience: Shared) -> None:
        self.dirty.append(audience)
        self._schedule()

    def _schedule(self) -> None:
        loop = self._loop()
        if not self._scheduled and loop is not None:
            self._scheduled = True
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        dirty = self.dirty
        budget = RECEIVERS_PER_TURN
        while dirty and budget > 0:
            audience = dirty[0]
            if audience.is_dirty:  # not so where it was written early
                budget = audience.flush(budget)
            if audience.is_dirty:
                dirty.rotate(-1)  # the others come first in the next turn
            else:
                dirty.popleft()
        if dirty:
            self._schedule()


_turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Turn] = weakref.WeakKeyDictionary()


def turn_of(loop: asyncio.AbstractEventLoop) -> Turn:
    turn = _turns.get(loop)
    if turn is None:
        turn = _turns[loop] = Turn(loop)
    return turn
