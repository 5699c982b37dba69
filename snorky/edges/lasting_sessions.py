"""Sessions that outlive their connections: how long they last, and when their clients have gone.

Knows the event loop. What is said is the business of ``snorky.protocols``, whose sessions these
are.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any, Protocol

from snorky import close_codes, visit
from snorky.client import Client
from snorky.close_codes import CloseCode
from snorky.envelope import Envelope
from snorky.metrics import metrics
from snorky.protocols.sessions import Receiver, Session
from snorky.wheel import wheel_of
from snorky.wire import encode

SECONDS_OF_GRACE = 0.25
"""How long the loop has to have turned before a peer counts as gone: what it sent while we stood
still, for a slow service or a suspended machine, is read first."""

MOST_GRACE = 8
"""How many times in a row. A loop that is always late must not keep sessions for ever."""

SECONDS_TO_COME_BACK = 1.0
"""How long who has no connection keeps its place where all are taken: longer than a poller is
between two requests. Sessions without a connection cost a stranger nothing."""


class SessionClient(Client):
    """A client at the other end of a session."""

    def __init__(
        self, session: Session, remote_address: str | None = None, identity: Any = None
    ) -> None:
        self.session = session
        self.remote_address = remote_address
        self.identity = identity

    def send(self, msg: Any) -> None:
        text = msg.text if type(msg) is Envelope else encode(msg)
        if not self.session.closed:
            metrics.messages_sent += 1
            self.session.send(text)

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.session.close(code, reason)

    @property
    def unsent_bytes(self) -> int:
        return self.session.unsent_bytes

    def note_its_end(self) -> None:
        """Its session has ended, perhaps because it was slow."""
        if self.session.close_code == close_codes.SLOW_CLIENT:
            session = self.session
            visit.is_slow(self.remote_address, session.lost_bytes, session.max_unsent_bytes)


class Address(Protocol):
    """What sessions ask of the address that holds them."""

    heartbeat_interval: float
    disconnect_delay: float
    max_sessions: int
    absent: dict[str, float]
    """Sessions without a receiver, and since when, the oldest first."""

    @property
    def sessions(self) -> dict[str, Any]: ...


def has_room(address: Address) -> bool:
    """Whether one more session may be opened; who has stayed away for longest makes room for it."""
    if len(address.sessions) < address.max_sessions:
        return True
    session_id, since = next(iter(address.absent.items()), ("", math.inf))
    if asyncio.get_running_loop().time() - since < SECONDS_TO_COME_BACK:
        return False
    address.sessions[session_id].make_room()
    return True


class LastingSession(Session):
    """A session that ends ``disconnect_delay`` seconds after its last receiver, or when closed.

    Then it says goodbye for as long to whoever asks.
    """

    INTERRUPTED: CloseCode
    """Why it ends where nobody comes back."""

    def lasts(self, address: Address, session_id: str) -> None:
        """Call it once, when all of the session is there."""
        self._address = address
        self._id = session_id
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._wheel = wheel_of(self._loop, address.heartbeat_interval)
        self._intervals_without_progress = 0
        self._drained = asyncio.Event()

    def begin(self) -> None:
        """Let requests find it, and let it be asked for signs of life."""
        self._address.sessions[self._id] = self
        self._slot = self._wheel.add(self)

    def end(self) -> None:
        """Tell the services that its client has gone. Called once."""
        raise NotImplementedError

    async def room(self) -> None:
        """Wait until the client has read, where half of what may wait for it does.

        So its own answers never make it a slow client; only what others send to it does.
        """
        while not self.closed and self.unsent_bytes > self.max_unsent_bytes // 2:
            self._drained.clear()
            await self._drained.wait()

    def detach(self, receiver: Receiver) -> None:
        super().detach(receiver)
        self._drained.set()
        self._wait_for_a_receiver()

    def close(self, code: int | None = None, reason: str = "") -> None:
        if not self.closed:
            super().close(code, reason)
            self._drained.set()
            # Later: who sends to a client, or closes it, is not called back from within.
            self._loop.call_soon(self._end)
            self._wait_for_a_receiver()

    def make_room(self) -> None:
        """End at once, as if nobody had come back in time."""
        assert self._timer is not None  # there is no receiver
        self._timer.cancel()
        self._expire()

    def ping_or_close(self) -> None:
        """Called once per heartbeat interval."""
        self._intervals_without_progress += 1
        if self.receiver is None or not self.receiver.unsent_bytes:
            self._intervals_without_progress = 0
            self.heartbeat()
        elif self._intervals_without_progress >= 2:
            visit.is_silent()
            self.cut(close_codes.SILENT_CLIENT)

    def _has_a_receiver(self) -> None:
        self._intervals_without_progress = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            del self._address.absent[self._id]

    def _is_read(self) -> None:
        self._intervals_without_progress = 0
        self._drained.set()

    def _wait_for_a_receiver(self) -> None:
        if self.receiver is None and self._timer is None:
            delay = self._address.disconnect_delay
            self._address.absent[self._id] = self._loop.time()
            self._timer = self._loop.call_later(delay, self._give_grace, MOST_GRACE)

    def _give_grace(self, times: int) -> None:
        due = self._loop.time() + min(SECONDS_OF_GRACE, self._address.disconnect_delay / 4)
        self._timer = self._loop.call_at(due, self._expire_if_on_time, due, times - 1)

    def _expire_if_on_time(self, due: float, times: int) -> None:
        if times and self._loop.time() - due > SECONDS_OF_GRACE:
            self._give_grace(times)
        else:
            self._expire()

    def _expire(self) -> None:
        del self._address.sessions[self._id], self._address.absent[self._id]
        self.close(*self.INTERRUPTED)
        self._timer = None  # no cycle is left for the collector

    def _end(self) -> None:
        self._wheel.remove(self, self._slot)
        self.end()
