"""What trusted programs may do: connect clients, send updates, and watch."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from typing import Any

from snorky.processes import Processes
from snorky.services.base import Request, RPCError, RPCService, rpc_asynchronous, rpc_command
from snorky.services.events.frontend import EventsService
from snorky.services.events.paths import EVERYTHING, check_path, without_covered
from snorky.services.events.taps import Tap, Waiting

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

    async def start(self) -> None:
        self._processes.answers[f"watch {self.name}"] = self._watched_elsewhere
        self._processes.answers[f"unwatch {self.name}"] = self._unwatch
        await self.frontend.start()

    async def stop(self) -> None:
        await self.frontend.stop()

    @property
    def _processes(self) -> Processes:
        return self.frontend.processes

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
    ) -> Awaitable[Any] | None:
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
            self._ask_tap(req, tap, after)
        else:
            return self._ask_elsewhere("watch", tap, [tap, after])
        return None

    @rpc_command
    def unwatch(self, req: Request, tap: str) -> Awaitable[Any] | None:
        """End a ``watch``. Nothing happens where there is none of that name."""
        if tap in self._taps or self._processes.marked_by(tap) is None:
            self._unwatch(tap)
            return None
        return self._ask_elsewhere("unwatch", tap, tap)

    def _ask_tap(self, waiting: Waiting, tap: str, after: int) -> None:
        if tap not in self._taps:
            raise RPCError("Unknown tap")
        self._stay(self._taps[tap])
        self._taps[tap].ask(waiting, after, self.limits)

    def _ask_elsewhere(self, what: str, tap: str, params: Any) -> Awaitable[Any]:
        """Ask the process that has the tap. Raises RPCError."""
        process = self._processes.marked_by(tap)
        if process is None:
            raise RPCError("Unknown tap")
        return self._ask(process, f"{what} {self.name}", params)

    async def _ask(self, process: str, what: str, params: Any) -> Any:
        try:
            return await self._processes.ask(process, what, params, self.limits.backend_timeout)
        except (LookupError, TimeoutError) as error:
            raise RPCError("Unknown tap") from error

    def _watched_elsewhere(self, params: Any) -> Awaitable[Any]:
        answer = _Answer()
        self._ask_tap(answer, *params)
        return answer.future

    def _unwatch(self, tap: str) -> None:
        if tap in self._taps:
            self._close_tap(self._taps[tap])

    def _open_tap(self, patterns: list[Any]) -> Tap:
        for pattern in patterns:
            if pattern != EVERYTHING:
                check_path(pattern)
        if len(self._taps) >= MAX_TAPS:
            raise RPCError(f"Too many taps: at most {MAX_TAPS}")
        tap_id = self._processes.mark("tap-" + secrets.token_hex(16))
        tap = Tap(tap_id, without_covered(patterns))
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


class _Answer:
    """Another process waits for updates."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def reply(self, data: Any) -> None:
        if not self.future.done():
            self.future.set_result(data)
