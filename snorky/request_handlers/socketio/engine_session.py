"""A session of Engine.IO: python-engineio's, with clocks and upgrades as networks need them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from engineio import exceptions  # type: ignore[import-untyped]
from engineio.async_socket import AsyncSocket  # type: ignore[import-untyped]
from engineio.packet import PING, Packet  # type: ignore[import-untyped]

from snorky.edges.lasting_sessions import SECONDS_OF_GRACE

SECONDS_OF_UPGRADING_POLL = 0.1
"""How long a poll waits while its session moves to WebSocket, before it is answered with nothing.
Clients may poll until then, and would do it as often as they can."""


class EngineSession(AsyncSocket):  # type: ignore[misc]
    """Its pings are measured by the loop's clock: nobody sets that back or forward."""

    def __init__(self, server: Any, sid: str) -> None:
        self._upgrading = False
        self._upgrade_ended = asyncio.Event()
        self._overdue_since: float | None = None
        super().__init__(server, sid)
        self.last_ping: float | None = asyncio.get_running_loop().time()

    # Pings

    async def _send_ping(self) -> None:
        await asyncio.sleep(self.server.ping_interval)
        if not self.closing and not self.closed:
            self.last_ping = asyncio.get_running_loop().time()
            await self.send(Packet(PING))

    async def check_ping_timeout(self) -> bool:
        if self.closed:
            raise exceptions.SocketIsClosedError
        now = asyncio.get_running_loop().time()
        if self.last_ping is None or now - self.last_ping <= self.server.ping_timeout:
            self._overdue_since = None
            return True
        if self._overdue_since is None:
            # Perhaps we were the ones who stood still, and its answer waits in the socket.
            self._overdue_since = now
            asyncio.get_running_loop().call_later(2 * SECONDS_OF_GRACE, self._look_again)
        if now - self._overdue_since < SECONDS_OF_GRACE:
            return True
        # Not aborted: a peer that has gone half way hears of it.
        await self.close(wait=False, abort=False, reason=self.server.reason.PING_TIMEOUT)
        return False

    def _look_again(self) -> None:
        if not self.closed and not self.closing:
            self.server.start_background_task(self._check)

    async def _check(self) -> None:
        with suppress(exceptions.SocketIsClosedError):
            await self.check_ping_timeout()

    # Upgrades

    @property
    def upgrading(self) -> bool:
        return self._upgrading

    @upgrading.setter
    def upgrading(self, value: bool) -> None:
        self._upgrading = value
        if value:
            self._upgrade_ended.clear()
        else:
            self._upgrade_ended.set()

    async def handle_get_request(self, environ: dict[str, Any]) -> Any:
        if self._upgrading and not environ.get("HTTP_UPGRADE"):
            with suppress(TimeoutError):
                async with asyncio.timeout(SECONDS_OF_UPGRADING_POLL):
                    await self._upgrade_ended.wait()
        return await super().handle_get_request(environ)
