"""What trusted programs may do: connect clients, send updates, and watch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from snorky.services.base import Request, RPCError, RPCService, rpc_asynchronous, rpc_command
from snorky.services.events.frontend import EventsService
from snorky.services.events.paths import EVERYTHING, check_path, without_covered
from snorky.services.events.taps import Tap

MAX_TAPS = 100
TAP_SECONDS = 60.0
"""A tap that nobody asked for so long is ended, and what it kept with it."""


class EventsBackend(RPCService):
    """Lets web applications connect the clients of ``frontend``, and send updates."""

    secret_params = frozenset({"clientId", "tap"})

    def __init__(self, name: str, frontend: EventsService) -> None:
        super().__init__(name)
        self.frontend = frontend
        self._taps: dict[str, Tap] = {}

    @rpc_command
    def connect(self, req: Request, clientId: str, path: Any) -> Awaitable[None] | None:
        """Connect a client to ``path``, or to each of an array of paths: all or none."""
        return self.frontend.connect_client(clientId, path)

    @rpc_command
    def disconnect(self, req: Request, clientId: str, path: Any) -> Awaitable[None] | None:
        """Disconnect a client from ``path``, or from each of an array of paths."""
        return self.frontend.disconnect_client(clientId, path)

    @rpc_command
    def update(self, req: Request, path: Any, message: Any = None) -> Awaitable[None] | None:
        """Send ``message`` to all who are connected to ``path``."""
        return self.frontend.update(self.name, path, message)

    @rpc_command
    @rpc_asynchronous
    def watch(
        self,
        req: Request,
        paths: list[Any] | None = None,
        tap: str | None = None,
        after: int = 0,
    ) -> None:
        """Watch updates, for ``snorky tail`` and its like.

        The first call names ``paths``, patterns and ``*`` included, and is answered at once, with
        the id of a ``tap``. Each further call gives that and ``after``, the number of the last
        update that came. It is answered with what came since, as soon as something did:
        ``{"tap", "after", "updates": [{"path", "message"}, ...], "missed"}``.
        """
        if tap is None:
            opened = self._open_tap([EVERYTHING] if paths is None else paths)
            req.reply({"tap": opened.id, "after": 0, "updates": [], "missed": 0})
        elif tap in self._taps:
            self._stay(self._taps[tap])
            self._taps[tap].ask(req, after, self.limits)
        else:
            raise RPCError("Unknown tap")

    @rpc_command
    def unwatch(self, req: Request, tap: str) -> None:
        """End a ``watch``. Nothing happens where there is none of that name."""
        if tap in self._taps:
            self._close_tap(self._taps[tap])

    def _open_tap(self, patterns: list[Any]) -> Tap:
        for pattern in patterns:
            if pattern != EVERYTHING:
                check_path(pattern)
        if len(self._taps) >= MAX_TAPS:
            raise RPCError(f"Too many taps: at most {MAX_TAPS}")
        tap = Tap(without_covered(patterns))
        self._taps[tap.id] = tap
        self._stay(tap)
        for pattern in tap.patterns:
            self.frontend.connect(tap, pattern)
        return tap

    def _stay(self, tap: Tap) -> None:
        if tap.end is not None:
            tap.end.cancel()
        tap.end = asyncio.get_running_loop().call_later(TAP_SECONDS, self._close_tap, tap)

    def _close_tap(self, tap: Tap) -> None:
        if tap.end is not None:
            tap.end.cancel()
        del self._taps[tap.id]
        for pattern in tap.patterns:
            self.frontend.disconnect(tap, pattern)
        tap.answer()
