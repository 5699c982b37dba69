"""Socket.IO over a real connection: whatever packets one peer sends, another is served."""

from __future__ import annotations

import asyncio
import json
from functools import lru_cache
from typing import Any

import httpx2
import websockets
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.limits import Limits
from snorky.request_handlers.socketio import SnorkySocketIOHandler
from snorky.services.base import Service
from snorky.services.pubsub import PubSubService
from tests.fuzz.logs import no_fault_logged
from tests.lines import DEADLINE, until

LIMITS = Limits(max_message_bytes=2048, close_timeout=0.2)


class Echo(Service):
    def process_message_from(self, client: Any, msg: Any) -> None:
        self.send_message_to(client, msg)


class Site:
    """A server for all tests, in a loop that runs while one of them waits."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.run = self._loop.run_until_complete
        self.registry = ServiceRegistry([Echo("echo"), PubSubService("pubsub")], limits=LIMITS)
        self.run(self._open())

    async def _open(self) -> None:
        route = SnorkySocketIOHandler.get_route(self.registry)
        self.engine = route[2]["engine"]
        sockets = bind_sockets(0, "127.0.0.1")
        self._server = HTTPServer(Application([route], log_function=lambda handler: None))
        self._server.add_sockets(sockets)
        port = sockets[0].getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"

    async def _close(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()
        await self.engine.shutdown()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    def close(self) -> None:
        self.run(self._close())
        self._loop.close()

    async def offend(self, packets: list[str | bytes]) -> int:
        """Send packets, read what comes back, leave. Returns how many bytes came."""
        async with asyncio.timeout(DEADLINE):
            received = 0
            async with websockets.connect(self.url, max_size=None) as peer:
                await peer.recv()
                try:
                    for packet in packets:
                        await peer.send(packet)
                    await peer.send("40")  # the answer, or the end, comes behind all others
                    await peer.send('420["echo","the end"]')
                    while "the end" not in str(packet := await peer.recv()):
                        received += len(packet)
                except websockets.ConnectionClosed:
                    pass
            return received

    async def post(self, packets: list[str | bytes]) -> int:
        """Post packets, two at a time, and never ask for the answers. Returns how many wait."""
        async with httpx2.AsyncClient(timeout=DEADLINE, trust_env=False) as http:
            url = self.url.replace("ws:", "http:").replace("=websocket", "=polling")
            url += "&sid=" + json.loads((await http.get(url)).text[1:])["sid"]
            for place in range(0, len(packets), 2):
                pair = [p.encode() if isinstance(p, str) else p for p in packets[place : place + 2]]
                if (await http.post(url, content=b"\x1e".join(pair))).status_code != 200:
                    return 0
            waiting = max(
                (session.queue.qsize() for session in self.engine.sockets.values()), default=0
            )
            await http.post(url, content="1")
            return waiting

    async def serve_bystander(self) -> None:
        async with asyncio.timeout(DEADLINE):
            async with websockets.connect(self.url) as peer:
                await peer.recv()
                await peer.send("40")
                await peer.recv()
                await peer.send('42["echo",1]')
                assert await peer.recv() == '42["echo",1]'
        await until(lambda: not self.registry.clients)


@lru_cache(maxsize=1)
def site() -> Site:
    return Site()


def close_site() -> None:
    if site.cache_info().currsize:
        site().close()
        site.cache_clear()


def check_packets(packets: list[str | bytes]) -> None:
    with no_fault_logged():
        received = site().run(site().offend(packets))
        site().run(site().serve_bystander())
    # Errors are longer than what caused them. What is sent back is not.
    assert received <= 8 * sum(map(len, packets)) + 500 * len(packets), f"{received} bytes"


def check_posts(packets: list[str | bytes]) -> None:
    with no_fault_logged():
        waiting = site().run(site().post(packets))
        site().run(site().serve_bystander())
    # What each of them may be owed: an event and its attachments, an acknowledgement, an error.
    assert waiting <= 100 + 2 * len(packets), f"{waiting} packets wait"


def check_packet(data: bytes) -> None:
    """One packet a line: bytes where it begins with a null, and connected where that is meant."""
    packets: list[str | bytes] = []
    for line in data.split(b"\n")[:8]:
        if line.startswith(b"\0"):
            packets.append(line[1:])
        else:
            packets.append(line.decode("utf-8", "replace"))
    check_packets(packets)
