"""ASGI servers under test, on real sockets in the test's own loop, and what visitors do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import hypercorn.asyncio
import hypercorn.config
import uvicorn
import websockets

from tests.patience import patient

DEADLINE = patient(20.0)


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are for the tests."""
        yield


class Site:
    """``start`` serves an application; ``connect`` opens a WebSocket to it."""

    def __init__(self, server: str) -> None:
        self.server = server
        self._stops: list[Any] = []

    async def start(self, app: Any, **options: Any) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        if self.server == "hypercorn":
            await self._start_hypercorn(app, listening)
        else:
            await self._start_uvicorn(app, listening, options)

    async def _start_uvicorn(self, app: Any, listening: socket.socket, options: Any) -> None:
        ws: Any = self.server.removeprefix("uvicorn-")
        settings = {"log_config": None, "ws": ws, "timeout_graceful_shutdown": 5, **options}
        server = _Uvicorn(uvicorn.Config(app, **settings))
        serving = asyncio.create_task(server.serve([listening]))
        async with asyncio.timeout(DEADLINE):
            while not server.started:
                await asyncio.sleep(0.001)

        async def stop() -> None:
            server.should_exit = True
            async with asyncio.timeout(DEADLINE):
                await serving

        self._stops.append(stop)

    async def _start_hypercorn(self, app: Any, listening: socket.socket) -> None:
        config = hypercorn.config.Config()
        config.bind = [f"fd://{listening.detach()}"]
        config.graceful_timeout = 1
        stopping = asyncio.Event()
        serving = asyncio.create_task(
            hypercorn.asyncio.serve(app, config, shutdown_trigger=stopping.wait)
        )

        async def stop() -> None:
            stopping.set()
            async with asyncio.timeout(DEADLINE):
                await serving

        self._stops.append(stop)

    async def stop(self) -> None:
        while self._stops:
            await self._stops.pop()()

    def connect(self, path: str = "/ws", **options: Any) -> Any:
        return websockets.connect(f"ws://127.0.0.1:{self.port}{path}", **options)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"
