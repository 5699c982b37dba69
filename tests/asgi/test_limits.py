"""What hostile and slow clients cannot do."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from websockets.frames import Opcode

from snorky import ServiceRegistry
from snorky.asgi import SnorkyASGI
from snorky.client import Client
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.services.base import Service
from tests.asgi.asgi_site import DEADLINE, Site
from tests.lines import HANDSHAKE, masked, until
from tests.request_handlers.websocket_site import Echo, closed, received, said

HEARTBEATS = HANDSHAKE.replace(b"GET / ", b"GET /ws ") + b"Sec-WebSocket-Protocol: snorky\r\n"


class Narrow:
    """A client with a small receive buffer that reads only when it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> Narrow:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
        writer.write(HEARTBEATS + b"\r\n")
        async with asyncio.timeout(DEADLINE):
            await reader.readuntil(b"\r\n\r\n")
        return cls(reader, writer)

    async def leave(self) -> None:
        self.writer.transport.abort()


class Flood(Service):
    """Sends a great deal to whoever has come."""

    def __init__(self) -> None:
        super().__init__("flood")
        self.clients: list[Client] = []
        self.left: asyncio.Queue[Client] = asyncio.Queue()
        self.asked = 0

    def client_connected(self, client: Client) -> None:
        self.clients.append(client)

    def client_disconnected(self, client: Client) -> None:
        self.left.put_nowait(client)

    def process_message_from(self, client: Client, msg: Any) -> None:
        self.asked += 1
        self.send_message_to(client, "x" * msg)


async def test_a_slow_reader_is_cut_and_the_others_hear_everything(site: Site) -> None:
    flood = Flood()
    limits = Limits(max_unsent_bytes=100_000)
    await site.start(SnorkyASGI(ServiceRegistry([flood], limits=limits)))
    slow = metrics.clients_slow
    narrow = await Narrow.connect(site.port)
    await until(lambda: flood.clients)
    async with site.connect(max_size=None) as reader:
        await until(lambda: len(flood.clients) == 2)
        sent = 0
        async with asyncio.timeout(DEADLINE):
            while flood.left.empty():
                flood.broadcast(flood.clients, "x" * 10_000)
                sent += 1
                assert all(client.unsent_bytes < 120_000 for client in flood.clients)
                assert len((await received(reader))["message"]) == 10_000
            assert await flood.left.get() is flood.clients[0]
        assert metrics.clients_slow == slow + 1
        assert sent > 5
        flood.send_message_to(flood.clients[0], "nobody hears this")
        assert flood.clients[0].unsent_bytes == 0
    await narrow.leave()


async def test_who_does_not_read_its_answers_is_not_heard_until_it_does(site: Site) -> None:
    flood = Flood()
    limits = Limits(max_unsent_bytes=100_000)
    await site.start(SnorkyASGI(ServiceRegistry([flood], limits=limits)))
    narrow = await Narrow.connect(site.port)
    call = masked(Opcode.TEXT, b'{"service": "flood", "message": 60000}')
    narrow.writer.write(call * 300)
    # One answer that waits is more than half of what may: whatever the server took, it stays so.
    await until(lambda: flood.asked > 1 and flood.clients[0].unsent_bytes > 50_000)
    for _ in range(100):
        await asyncio.sleep(0)
    assert flood.asked < 200
    assert flood.clients[0].unsent_bytes < 200_000
    got = 0
    async with asyncio.timeout(DEADLINE):
        while got < 300 * 60_000:
            got += len(await narrow.reader.read(1 << 20))
    assert flood.asked == 300
    await narrow.leave()
    async with asyncio.timeout(DEADLINE):
        await flood.left.get()


async def test_heartbeats_that_nobody_reads_do_not_fill_the_memory(uvicorn_site: Site) -> None:
    flood = Flood()
    limits = Limits(max_unsent_bytes=20_000)
    await uvicorn_site.start(SnorkyASGI(ServiceRegistry([flood], limits=limits)))
    narrow = await Narrow.connect(uvicorn_site.port)
    await until(lambda: flood.clients)
    client = flood.clients[0]
    flood.send_message_to(client, "x" * 9_000_000)
    await until(lambda: client.unsent_bytes == 0)  # nothing more goes out after that
    narrow.writer.write(masked(Opcode.TEXT) * 20_000)
    await until(lambda: client.unsent_bytes > 10_000)
    for _ in range(100):
        await asyncio.sleep(0)
    assert client.unsent_bytes < 11_000
    await narrow.leave()
    async with asyncio.timeout(DEADLINE):
        await flood.left.get()


async def test_a_message_over_the_limit_closes_with_1009(site: Site) -> None:
    echo = Echo()
    limits = Limits(max_message_bytes=100)
    await site.start(SnorkyASGI(ServiceRegistry([echo], limits=limits)))
    envelope = '{"service": "echo", "message": "%s"}'
    async with site.connect() as socket:
        fits = "x" * (100 - len(envelope) + 2)
        assert await said(socket, fits) == fits
        await socket.send(envelope % ("é" * 50))
        assert await closed(socket) == (1009, "message over 100 bytes")


async def test_one_client_s_burst_leaves_turns_to_the_others(uvicorn_site: Site) -> None:
    """The server has all of the burst already: its ``receive`` never waits."""
    site, turns = uvicorn_site, 0
    between: list[int] = []

    class Counting(Service):
        def process_message_from(self, client: Client, msg: Any) -> None:
            between.append(turns)

    limits = Limits(max_messages_per_turn=10)
    await site.start(SnorkyASGI(ServiceRegistry([Counting("counting")], limits=limits)))
    burster = await Narrow.connect(site.port)
    burster.writer.write(masked(Opcode.TEXT, b'{"service": "counting", "message": 1}') * 200)
    async with asyncio.timeout(DEADLINE):
        while len(between) < 200:
            await asyncio.sleep(0)
            turns += 1
    most = max(between.count(turn) for turn in set(between))
    assert most <= 10
    await burster.leave()


async def test_a_goodbye_that_nobody_reads_ends_in_time(uvicorn_site: Site) -> None:
    flood = Flood()
    limits = Limits(close_timeout=0.05, max_unsent_bytes=100_000_000)
    await uvicorn_site.start(SnorkyASGI(ServiceRegistry([flood], limits=limits)))
    narrow = await Narrow.connect(uvicorn_site.port)
    await until(lambda: flood.clients)
    for _ in range(2):
        flood.send_message_to(flood.clients[0], "x" * 9_000_000)
    flood.clients[0].close(4000)
    async with asyncio.timeout(DEADLINE):
        await flood.left.get()
    await narrow.leave()


async def test_lines_about_one_client_are_bounded(uvicorn_site: Site, expect_log: Any) -> None:
    limits = Limits(max_log_lines_per_client=3)
    await uvicorn_site.start(SnorkyASGI(ServiceRegistry([Echo()], limits=limits)))
    async with uvicorn_site.connect() as socket:
        for _ in range(10):
            await socket.send("{")
        assert await said(socket, 1) == 1
    assert expect_log.all("Invalid JSON") == 3
    expect_log("Further lines about client 127.0.0.1 are not logged")
