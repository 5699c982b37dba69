"""Updates that wait for a program to fetch them.

They are numbered, and dropped when the program says that it has them: an answer that is lost on
its way loses nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol

from snorky.limits import Limits
from snorky.wire import decode, encode

MAX_TAP_BYTES = 1024 * 1024
"""Past it the oldest updates go."""


class Waiting(Protocol):
    """Who waits for updates: a Request, or another process."""

    def reply(self, data: Any) -> None: ...


class Tap:
    """Keeps updates, up to a size, until a program asks for them."""

    def __init__(self, tap_id: str, patterns: list[str]) -> None:
        self.id = tap_id
        self.patterns = patterns
        self.end: asyncio.TimerHandle | None = None
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._count = 0  # of all updates so far; the last of them is the last that is kept
        self._request: Waiting | None = None
        self._after = 0
        self._answering: asyncio.Handle | None = None

    def update(self, sender: Any, path: str, message: Any) -> None:
        text = encode({"path": path, "message": message})
        self._kept.append(text)
        self._kept_bytes += len(text)
        self._count += 1
        while self._kept_bytes > MAX_TAP_BYTES and len(self._kept) > 1:
            self._kept_bytes -= len(self._kept.popleft())
        if self._request is not None and len(self._kept) == 1:
            # When the turn ends: what comes together leaves together.
            asyncio.get_running_loop().call_soon(self.answer)

    def ask(self, request: Waiting, after: int, limits: Limits) -> None:
        """Answer with what comes after number ``after``, or in a while with nothing."""
        self.answer()
        while self._kept and self._count - len(self._kept) < after:
            self._kept_bytes -= len(self._kept.popleft())
        self._request, self._after = request, after
        if self._kept:
            self.answer()
        else:
            seconds = min(15.0, limits.backend_timeout / 2)
            self._answering = asyncio.get_running_loop().call_later(seconds, self.answer)

    def answer(self) -> None:
        request, self._request = self._request, None
        if self._answering is not None:
            self._answering.cancel()
        if request is None:
            return
        updates = [decode(text) for text in self._kept]
        missed = max(0, self._count - len(updates) - self._after)
        request.reply({"tap": self.id, "after": self._count, "updates": updates, "missed": missed})
