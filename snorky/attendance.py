"""Which clients of an identity are here, and until when: bounded by the clients themselves.

Anonymous clients are not kept. What becomes of a client whose time is up is the registry's
business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from snorky.client import Peer
from snorky.identity import Authenticated

_LONGEST_SLEEP = 3600.0
"""Seconds after which the clock is looked at again: somebody may have set it."""


class Attendance:
    """Clients by their identity. ``expired(client)`` is called once for each whose time is up."""

    def __init__(self, expired: Callable[[Any], None]) -> None:
        self._expired = expired
        self._clients: dict[Any, set[Any]] = {}
        self._identities: dict[Any, Any] = {}
        """As they were when a client entered: services may change ``client.identity``."""
        self._timers: dict[Any, asyncio.TimerHandle] = {}

    def enter(self, client: Peer) -> None:
        """Take in a client that has an identity; an ``Authenticated`` is taken apart."""
        self.leave(client)
        identity = client.identity
        if type(identity) is Authenticated:
            client.identity = identity.identity
            if identity.ends is None:
                self.stay(client, identity.expires_at)
            else:
                self.stay_for(client, max(0.0, identity.ends - time.monotonic()))
            identity = client.identity
        try:
            self._clients.setdefault(identity, set()).add(client)
        except TypeError:
            return  # not hashable: nobody can ask for it
        self._identities[client] = identity

    def stay(self, client: Peer, until: float) -> None:
        """End the client's time at ``until``, seconds since the epoch, instead of earlier."""
        # Never after less than nothing, nor so late that a loop's arithmetic fails.
        delay = min(max(until - time.time(), 0.0), _LONGEST_SLEEP)
        self._set_timer(client, delay, self._look, client, until)

    def stay_for(self, client: Peer, seconds: float) -> None:
        """End the client's time after so long, whatever clocks are set to meanwhile."""
        self._set_timer(client, seconds, self._end, client)

    def _set_timer(
        self, client: Peer, delay: float, callback: Callable[..., None], *args: Any
    ) -> None:
        timer = self._timers.get(client)
        if timer is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[client] = loop.call_later(delay, callback, *args)

    def leave(self, client: Peer) -> None:
        """Forget a client, known or not."""
        timer = self._timers.pop(client, None)
        if timer is not None:
            timer.cancel()
        if client in self._identities:
            identity = self._identities.pop(client)
            clients = self._clients[identity]
            clients.discard(client)
            if not clients:
                del self._clients[identity]

    def clients_of(self, identity: Any) -> tuple[Any, ...]:
        return tuple(self._clients.get(identity, ()))

    def __len__(self) -> int:
        return len(self._identities)

    def _look(self, client: Peer, until: float) -> None:
        if time.time() < until:
            self.stay(client, until)
        else:
            self._end(client)

    def _end(self, client: Peer) -> None:
        del self._timers[client]
        self._expired(client)
