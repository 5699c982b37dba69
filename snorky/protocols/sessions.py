"""What every session over changing connections shares: what waits for its client, and how it ends.

What a message looks like on its way, and what becomes of it once a receiver has it, is the business
of its dialect: ``sockjs``, ``comet``.
"""

from __future__ import annotations

from collections import deque
from typing import ClassVar, Protocol

from snorky.close_codes import SLOW_CLIENT, CloseCode

NORMAL = CloseCode(1000, "")


class Receiver(Protocol):
    """Where messages go, until it ends: one response, or one WebSocket."""

    @property
    def unsent_bytes(self) -> int:
        """What it has taken, and not given to the operating system."""

    def wake(self) -> None:
        """Something waits: take it, now or soon. Must not call back into the session's client."""

    def abort(self) -> None:
        """Cut the connection: its peer does not read."""


class Session:
    """What waits for one client, and where it goes.

    ``send`` and ``close`` may be called at any time. ``max_unsent_bytes`` may wait before a message
    is added; past it the client is cut off (``close_codes.SLOW_CLIENT``).
    """

    GOODBYE: ClassVar[CloseCode] = NORMAL
    """How it closes where nobody says how."""

    def __init__(self, max_unsent_bytes: int) -> None:
        self.max_unsent_bytes = max_unsent_bytes
        self.receiver: Receiver | None = None
        self.close_code: CloseCode | None = None
        """Why it was closed; None while it is open."""
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._heartbeat_due = False
        self.lost_bytes = 0
        """What was unsent when it was cut."""

    @property
    def closed(self) -> bool:
        return self.close_code is not None

    @property
    def unsent_bytes(self) -> int:
        taken = 0 if self.receiver is None else self.receiver.unsent_bytes
        return self._waiting_bytes + taken

    def send(self, text: bytes) -> None:
        """Send one message, UTF-8. Does nothing once closed."""
        if self.closed:
            return
        if self.unsent_bytes > self.max_unsent_bytes:
            self.cut(SLOW_CLIENT)
            return
        message = self._as_sent(text)
        self._waiting.append(message)
        self._waiting_bytes += len(message)
        self._wake()

    def close(self, code: int | None = None, reason: str = "") -> None:
        """Say goodbye behind what waits. Twice does nothing."""
        if self.close_code is None:
            self.close_code = self.GOODBYE if code is None else CloseCode(code, reason)
            self._wake()

    def cut(self, why: CloseCode) -> None:
        """Close and drop what waits: the client does not read, or has gone."""
        if self.closed:
            return
        self.lost_bytes = self.unsent_bytes
        receiver, self.receiver = self.receiver, None
        self._drop()
        self.close(*why)
        if receiver is not None:
            receiver.abort()

    def heartbeat(self) -> None:
        """A sign of life is due, where somebody receives."""
        if self.receiver is not None and not self.closed:
            self._heartbeat_due = True
            self._wake()

    def detach(self, receiver: Receiver) -> None:
        """``receiver`` has ended."""
        if self.receiver is receiver:
            self.receiver = None

    def _as_sent(self, text: bytes) -> bytes:
        """The message as it waits."""
        return text

    def _take_batch(self, most_bytes: int) -> list[bytes]:
        """Take the messages that come next: one at least where any waits, else up to that size."""
        batch: list[bytes] = []
        size = 0
        while self._waiting and (not batch or size + len(self._waiting[0]) <= most_bytes):
            batch.append(self._waiting.popleft())
            size += len(batch[-1])
        self._waiting_bytes -= size
        return batch

    def _drop(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    def _wake(self) -> None:
        if self.receiver is not None:
            self.receiver.wake()
