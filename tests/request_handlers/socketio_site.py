"""Socket.IO pages, as real as they get: the client of npm in Node, told what to do line by line.

Beside it a peer that speaks the protocol by hand, for what no client of good manners does.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from tests.patience import patient

FOLDER = Path(__file__).parent.parent / "socketio"
DEADLINE = patient(10.0)


class Pages:
    """Clients of Socket.IO in one Node process, each with a name."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._events: dict[tuple[str, str], asyncio.Queue[list[Any]]] = defaultdict(asyncio.Queue)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "event" in said:
                self._events[said["socket"], said["event"]].put_nowait(_unpack(said["args"]))
            elif "error" in said:
                self._answers.pop(said["id"]).set_exception(RuntimeError(said["error"]))
            else:
                self._answers.pop(said["id"]).set_result(_unpack(said["result"]))

    async def do(self, action: str, *args: Any) -> Any:
        """What the action returns in Node."""
        assert self._process.stdin is not None
        number = len(self._answers) + id(object())
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        line = json.dumps({"id": number, "action": action, "args": _pack(list(args))})
        self._process.stdin.write(line.encode() + b"\n")
        async with asyncio.timeout(DEADLINE):
            return await answer

    async def open(self, name: str, url: str, **options: Any) -> None:
        """Open a connection, and wait until it is there."""
        await self.do("open", name, url, options)
        await self.event(name, "connect")

    async def emit(self, name: str, *args: Any) -> None:
        await self.do("emit", name, *args)

    async def call(self, name: str, *args: Any) -> Any:
        """What the acknowledgement brings."""
        return await self.do("call", name, *args)

    async def rpc(self, name: str, service: str, command: str, **params: Any) -> Any:
        """The response to a call of a service."""
        return await self.call(name, service, {"command": command, "params": params})

    async def event(self, name: str, event: str) -> list[Any]:
        """The arguments of the next such event."""
        async with asyncio.timeout(DEADLINE):
            return await self._events[name, event].get()

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(DEADLINE):
            await self._process.wait()
            await self._reading


@asynccontextmanager
async def run_pages() -> AsyncIterator[Pages]:
    node = shutil.which("node")
    if node is None or not (FOLDER / "node_modules").is_dir():
        pytest.fail(f"the Socket.IO tests need Node, and `npm ci` in {FOLDER}")
    process = await asyncio.create_subprocess_exec(
        node,
        "client.mjs",
        cwd=FOLDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 * 1024 * 1024,
    )
    pages = Pages(process)
    try:
        yield pages
    finally:
        await pages.end()


def _pack(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, list):
        return [_pack(item) for item in value]
    if isinstance(value, dict):
        return {key: _pack(item) for key, item in value.items()}
    return value


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    if isinstance(value, dict):
        if "$bytes" in value:
            return base64.b64decode(value["$bytes"])
        return {key: _unpack(item) for key, item in value.items()}
    return value


class HandPeer:
    """A peer over WebSocket that speaks packet by packet."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket

    @classmethod
    async def open(cls, port: int, path: str = "/socket.io/", **options: Any) -> HandPeer:
        """A session that is connected to no namespace yet."""
        url = f"ws://127.0.0.1:{port}{path}?EIO=4&transport=websocket"
        peer = cls(await websockets.connect(url, max_size=None, **options))
        assert (await peer.packet()).startswith("0{")
        return peer

    @classmethod
    async def connect(cls, port: int, path: str = "/socket.io/", **options: Any) -> HandPeer:
        peer = await cls.open(port, path, **options)
        await peer.socket.send("40")
        assert (await peer.packet()).startswith("40{")
        return peer

    async def packet(self) -> Any:
        async with asyncio.timeout(DEADLINE):
            return await self.socket.recv()

    async def emit(self, name: str, *args: Any) -> None:
        await self.socket.send("42" + json.dumps([name, *args]))

    async def event(self) -> Any:
        packet = await self.packet()
        assert packet.startswith("42"), packet
        return json.loads(packet[2:])

    async def closed(self) -> int:
        async with asyncio.timeout(DEADLINE):
            await self.socket.wait_closed()
        return self.socket.close_code or 0


class PollingPeer:
    """A peer that polls, request by request."""

    def __init__(self, port: int, path: str = "/socket.io/") -> None:
        self.http = httpx2.AsyncClient(timeout=DEADLINE, trust_env=False)
        self.url = f"http://127.0.0.1:{port}{path}"
        self.params = {"EIO": "4", "transport": "polling"}

    async def open(self) -> None:
        opened = await self.get()
        assert opened.status_code == 200, opened.text
        self.params["sid"] = json.loads(opened.text[1:])["sid"]

    async def connect(self) -> None:
        await self.open()
        assert (await self.post("40")).status_code == 200
        assert (await self.get()).text.startswith("40{")

    async def get(self, **options: Any) -> httpx2.Response:
        return await self.http.get(self.url, params=self.params, **options)

    async def post(self, body: str | bytes, **options: Any) -> httpx2.Response:
        return await self.http.post(self.url, params=self.params, content=body, **options)
