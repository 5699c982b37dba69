"""Pages with live lists, as cheap as Python can be: they open tokens, drop and come back.

They hold no rows: what they hear is counted, and the newest position is found when it is needed.
"""

import asyncio
import json
import os
import random
import re
import socket
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from harness import HERE, RunningServer, Server, running

from snorky.brokers.log import Position
from snorky.brokers.memory import MemoryBroker
from snorky.services.datasync.tokens import (
    FIRST,
    Token,
    TokenItems,
    Tokens,
    new_origin,
    signing_keys,
)

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
POSITION = re.compile(rb'"position":"([^"]+)"')
SECONDS_TO_OPEN = 60.0
SECONDS_BETWEEN_TRIES = 2.0


def serving(
    lists: int, writes: int, core: int, **options: Any
) -> AbstractContextManager[RunningServer]:
    """`snorky serve` with live lists; ``options`` are those of its DataSyncService."""
    servers = HERE / "servers"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        backend_port = unused.getsockname()[1]
    os.environ |= {
        "SERVICES": str(servers / "snorky_lists.py"),
        "LISTS": str(lists),
        "WRITES": str(writes),
        "OPTIONS": json.dumps(options),
        "BACKEND_PORT": str(backend_port),
        "SNORKY_API_KEY": "benchmark",
    }
    return running(Server("Snorky", [sys.executable, str(servers / "snorky_serve.py")]), core)


def head_of_log() -> str:
    command = {"command": "head", "params": {}, "callId": 1}
    request = urllib.request.Request(
        f"http://127.0.0.1:{os.environ['BACKEND_PORT']}/backend",
        data=json.dumps({"service": "datasync_backend", "message": command}).encode(),
        headers={"X-Backend-Key": os.environ["SNORKY_API_KEY"]},
    )
    with urllib.request.urlopen(request) as response:
        return str(json.load(response)["message"]["data"])


class TokenMaker:
    """Makes tokens as the server would: asking it 30,000 times is not what is measured."""

    def __init__(self) -> None:
        self._tokens = Tokens("datasync", MemoryBroker(), signing_keys(["benchmark"]))
        self._head = Position.parse(head_of_log())

    def token(self, of_list: int) -> str:
        expires = int(time.time()) + 3000
        items = TokenItems([("Rows", ["==", "list", of_list])])
        token = Token(FIRST, new_origin(), self._head, expires, expires, None, items)
        return self._tokens.make(token, 0, 0)[0]


class Page(asyncio.Protocol):
    """One page. ``lists`` are those that it shows."""

    def __init__(self, lists: Sequence[int], maker: TokenMaker) -> None:
        self.subscriptions: list[dict[str, Any]] = [{"token": maker.token(each)} for each in lists]
        self.transport: asyncio.Transport | None = None
        self.frames = 0
        self.refused = 0
        self.retries = 0
        self._unparsed = bytearray()
        self._newest = b""
        self._opened: asyncio.Future[None] | None = None

    async def connect(self, port: int) -> float:
        """Connect and open everything; returns the seconds until all of it was live."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._unparsed.clear()
        self._opened = loop.create_future()
        await loop.create_connection(lambda: self, "127.0.0.1", port)
        async with asyncio.timeout(SECONDS_TO_OPEN):
            await self._opened
        return loop.time() - began

    async def come_back(self, port: int) -> float:
        """Connect until it succeeds, as a page does; the seconds are those since the first try.

        A page is cut off where this program, which is all pages at once, gets round to its request
        later than the server waits for one.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            try:
                await self.connect(port)
            except ConnectionError:
                self.retries += 1
                await asyncio.sleep(random.random() * SECONDS_BETWEEN_TRIES)
            else:
                return loop.time() - began

    def drop(self) -> None:
        """As when the network goes; what was heard last is where each list goes on."""
        if self.transport is not None:
            self.transport.abort()
        found = POSITION.search(self._newest)
        if found is not None:
            for each in self.subscriptions:
                each |= {"since": found[1].decode(), "live": True}

    async def stall(self, seconds: float) -> None:
        """Read nothing for a while, as a page whose tab sleeps."""
        transport = self.transport
        if transport is not None:
            transport.pause_reading()
            await asyncio.sleep(seconds)
            if transport is self.transport:
                transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        self._unparsed += data
        unparsed = self._unparsed
        if unparsed.startswith(b"HTTP"):
            end = unparsed.find(b"\r\n\r\n")
            if end < 0:
                return
            if b" 101 " not in unparsed[:end]:
                raise RuntimeError(f"expected to be let in, got {bytes(unparsed[:end])!r}")
            del unparsed[: end + 4]
            self._call("openSubscriptions", subscriptions=self.subscriptions)
        start = 0
        while len(unparsed) - start >= 2:
            length, body = unparsed[start + 1], start + 2
            if length == 126:
                length, body = int.from_bytes(unparsed[start + 2 : start + 4]), start + 4
            elif length == 127:
                length, body = int.from_bytes(unparsed[start + 2 : start + 10]), start + 10
            if len(unparsed) < body + length:
                break
            self._heard(unparsed[start], bytes(unparsed[body : body + length]))
            start = body + length
        del unparsed[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(exc or ConnectionError("closed"))

    def _heard(self, kind: int, payload: bytes) -> None:
        if kind == 0x89:
            self._send(0x8A, payload)
        elif kind == 0x81 and b'"response"' in payload[:80]:
            self._answered(json.loads(payload)["message"]["data"])
        elif kind == 0x81:
            self.frames += 1
            self._newest = payload

    def _answered(self, answers: list[Any]) -> None:
        for wanted, answer in zip(self.subscriptions, answers, strict=True):
            if not answer["recovered"]:
                self.refused += 1
                continue
            wanted["token"] = answer["token"]
            self._newest = b'"position":"%s"' % answer["position"].encode()
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(None)

    def _call(self, command: str, **params: Any) -> None:
        message = {"command": command, "params": params, "callId": 1}
        self._send(0x81, json.dumps({"service": "datasync", "message": message}).encode())

    def _send(self, kind: int, payload: bytes) -> None:
        size = len(payload)
        head = bytes([kind, 0x80 | size]) if size < 126 else bytes([kind, 0xFE]) + size.to_bytes(2)
        with suppress(AttributeError):  # dropped meanwhile
            self.transport.write(head + bytes(4) + payload)  # type: ignore[union-attr]


def cpu_seconds(pids: Sequence[int]) -> float:
    """What processes have used of the processor."""
    used = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += int(fields[11]) + int(fields[12])
    return used / 100
