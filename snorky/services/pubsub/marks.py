"""Positions for those who hear nothing: the past goes on in other channels.

Who has subscribed to a channel with a past is told now and then where that is, on a channel that
rests too. Else the position of its last message would soon be none that the log still knows.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from snorky.brokers import Log
from snorky.client import Peer
from snorky.envelope import Envelope

LOOK_SECONDS = 5.0
"""How often it is seen whether the last mark is old."""

CLIENTS_PER_TURN = 200


class Marks:
    """Marks for the clients of a service. ``send_waiting`` sends what a mark would overtake."""

    def __init__(self, service: str, log: Log, send_waiting: Callable[[], None]) -> None:
        self._service = service
        self._log = log
        self._send_waiting = send_waiting
        self._clients: Counter[Peer] = Counter()
        self._marked = 0
        """The sequence of the last mark. Who has come since has a later one."""
        self._waiting: list[Peer] = []
        self._timer: asyncio.Handle | None = None

    def add(self, client: Peer) -> None:
        """A client has subscribed to one more channel with a past."""
        self._clients[client] += 1

    def remove(self, client: Peer) -> None:
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()

    def _look(self) -> None:
        if self._log.head.seq < self._marked:  # it was begun anew
            self._marked = 0
        if self._marked < self._log.halfway:
            self._marked = self._log.head.seq
            self._waiting = list(self._clients)
        self._mark_next()

    def _mark_next(self) -> None:
        """Some in each turn of the loop: it is a message for each of them alone."""
        now, self._waiting = self._waiting[:CLIENTS_PER_TURN], self._waiting[CLIENTS_PER_TURN:]
        loop = asyncio.get_running_loop()
        if now:
            self._send_waiting()
            mark = {"type": "mark", "position": str(self._log.head)}
            envelope = Envelope(self._service, mark)
            for client in now:
                if client in self._clients:
                    # What is on its way to this client goes out before it.
                    client.send(envelope)
            self._timer = loop.call_soon(self._mark_next)
        else:
            self._timer = loop.call_later(LOOK_SECONDS, self._look)
