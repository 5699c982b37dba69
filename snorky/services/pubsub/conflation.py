"""Of what comes too fast, only the newest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from snorky.services.pubsub.options import Conflate
from snorky.wire import canonical

MAX_KEYS = 1000
"""Messages that wait. Past it they are sent early: each key is one that a publisher makes up."""


class Conflation:
    """What waits to be sent on one channel. ``send`` is called with the newest of each key."""

    def __init__(self, conflate: Conflate, send: Callable[[list[Any]], None]) -> None:
        self._key = conflate.key
        self._seconds = 1 / conflate.per_second
        self._send = send
        self._newest: dict[str | None, Any] = {}
        self._timer: asyncio.TimerHandle | None = None

    def key_of(self, message: Any) -> str | None:
        if self._key is None or not isinstance(message, dict):
            return None
        return canonical(message.get(self._key))

    def take(self, message: Any, item: Any) -> None:
        """Send ``item``, at once or in a while, unless another with the same key comes before."""
        key = self.key_of(message)
        self._newest.pop(key, None)  # it goes to the end: items are sent in the order they came
        self._newest[key] = item
        if self._timer is None or len(self._newest) >= MAX_KEYS:
            self._send_newest()

    def send_now(self) -> None:
        """Send what waits. It is as long as ever until the next time."""
        if self._newest:
            self._send_newest()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _send_newest(self) -> None:
        self.close()
        newest, self._newest = self._newest, {}
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._rested)
        self._send(list(newest.values()))

    def _rested(self) -> None:
        self._timer = None
        if self._newest:
            self._send_newest()
