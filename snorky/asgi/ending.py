"""Noticing that the ASGI server ends, while responses go on.

ASGI tells it with ``lifespan.shutdown``. uvicorn says that when all responses have ended, and waits
for them, with a stream for ever. It can be asked, though: what it has set as handler of signals is
a method of the server, whose ``should_exit`` says so. No other server needs this, and it can go
when uvicorn tells applications.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

SECONDS_BETWEEN_LOOKS = 0.5


class ServerWatch:
    """Calls ``on_end`` when uvicorn shuts down while a response goes on."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._responses = 0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        """A response begins to wait."""
        self._responses += 1
        if self._timer is None:
            self._schedule()

    def __exit__(self, *error: object) -> None:
        self._responses -= 1
        if self._responses == 0 and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(SECONDS_BETWEEN_LOOKS, self._look)

    def _look(self) -> None:
        self._schedule()
        if _uvicorn_ends():
            self._on_end()


def _uvicorn_ends() -> bool:
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(server, "should_exit", None) is True
