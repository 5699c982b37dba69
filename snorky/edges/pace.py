"""How many messages of one client are handled before others get their turn."""

from __future__ import annotations

import asyncio
import weakref
from time import monotonic

from snorky.limits import Limits

SECONDS_PER_TURN = 0.002
"""How long the messages of one request are handled before others get their turn. Less than those of
a WebSocket: all are there at once, and so are those of other requests."""


class Pace:
    """Measures the turns of one client: none is longer than ``limits`` and the clock allow.

    For messages that are all there already: nothing else would let others come between them.
    """

    def __init__(self, limits: Limits) -> None:
        self._most = limits.max_messages_per_turn
        self._begin()

    def _begin(self) -> None:
        self._left = self._most
        self._deadline = monotonic() + SECONDS_PER_TURN

    def is_up(self) -> bool:
        """Call it when a message has been handled: whether the turn is over."""
        self._left -= 1
        return self._left <= 0 or monotonic() > self._deadline

    async def next_turn(self) -> None:
        """Let others have theirs.

        Who goes on does so one after the other, in different turns of the loop: many requests that
        come together hold up everybody else no longer than one does.
        """
        async with _baton():
            await asyncio.sleep(0)
        self._begin()

    async def message_done(self) -> None:
        """A message has been handled: let others have their turn where this one is over."""
        if self.is_up():
            await self.next_turn()


_batons: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
    weakref.WeakKeyDictionary()
)


def _baton() -> asyncio.Lock:
    loop = asyncio.get_running_loop()
    baton = _batons.get(loop)
    if baton is None:
        baton = _batons[loop] = asyncio.Lock()
    return baton
