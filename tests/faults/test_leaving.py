"""How connections begin and end on real sockets, at good moments and at bad ones."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tornado.web import Application
from websockets.frames import Opcode

from snorky import ServiceRegistry
from snorky.client import Client
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import Service
from tests.lines import DEADLINE, HANDSHAKE, RESET, Peer, masked, turns, until
from tests.patience import patient

GOODBYE = masked(Opcode.CLOSE, (1000).to_bytes(2) + b"bye")


class Room(Service):
    """Answers numbers with that many messages, and knows who is there."""

    def __init__(self) -> None:
        super().__init__("room")
        self.present: list[Client] = []
        self.connected = 0

    def client_connected(self, client: Client) -> None:
        self.present.append(client)
        self.connected += 1

    def process_message_from(self, client: Client, msg: Any) -> None:
        for number in range(msg):
            self.send_message_to(client, number)

    def client_disconnected(self, client: Client) -> None:
        self.present.remove(client)


class Site:
    def __init__(self, listen: Callable[..., int]) -> None:
        self.room = Room()
        self._listen = listen
        self._peers: list[Peer] = []

    def serve(
        self,
        handler: type[SnorkyWebSocketHandler] = SnorkyWebSocketHandler,
        *,
        limits: Limits | None = None,
        authenticate: Any = None,
        **options: Any,
    ) -> int:
        registry = ServiceRegistry([self.room], limits=limits, authenticate=authenticate)
        self.port = self._listen(Application([handler.get_route(registry, **options)]))
        return self.port

    async def connect(self, **options: Any) -> Peer:
        self._peers.append(await Peer.connect(self.port, **options))
        return self._peers[-1]

    async def empty(self) -> None:
        await until(lambda: not self.room.present)

    async def close(self) -> None:
        for peer in self._peers:
            await peer.leave()
        await self.empty()


@pytest.fixture
async def site(listen: Callable[..., int]) -> AsyncIterator[Site]:
    site = Site(listen)
    yield site
    await site.close()


def ask(number: Any) -> bytes:
    return masked(Opcode.TEXT, json.dumps({"service": "room", "message": number}).encode())


async def answer(peer: Peer) -> Any:
    return json.loads(await peer.text())["message"]


# Beginning


@pytest.mark.parametrize("number", [1, 3000])
async def test_what_is_sent_behind_the_handshake_is_handled(site: Site, number: int) -> None:
    site.serve()
    peer = await site.connect(behind=ask(1) * number)
    peer.send(ask(2))
    for _ in range(number):
        assert await answer(peer) == 0
    assert [await answer(peer), await answer(peer)] == [0, 1]


async def test_who_leaves_while_being_admitted_was_never_there(site: Site) -> None:
    asked = asyncio.Event()
    decided = asyncio.Event()

    async def authenticate(handshake: Any) -> None:
        asked.set()
        await decided.wait()

    port = site.serve(authenticate=authenticate)
    _reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HANDSHAKE + b"\r\n")
    await asked.wait()
    writer.transport.abort()
    await until(lambda: writer.transport.get_write_buffer_size() == 0)
    await asyncio.sleep(0.05)  # the server reads the end of the input
    decided.set()
    await turns()
    assert site.room.connected == 0


@pytest.mark.parametrize("patience", range(8))
async def test_who_resets_during_the_handshake_leaves_nothing_behind(
    site: Site, patience: int
) -> None:
    port = site.serve()
    before = metrics.clients
    for number in range(40):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.sendall(HANDSHAKE + b"\r\n" + ask(3) * (number % 2))
            await turns(patience)
        await turns(number % 3)
    last = await site.connect()
    last.send(ask(1))
    assert await answer(last) == 0  # whatever came before has been seen
    await last.leave()
    await site.empty()
    assert metrics.clients == before


async def test_a_server_out_of_descriptors_turns_new_clients_away(
    site: Site, monkeypatch: pytest.MonkeyPatch, expect_log: Any
) -> None:
    port = site.serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    def dup(self: socket.socket) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "dup", dup)
        writer.write(HANDSHAKE + b"\r\n")
        assert await asyncio.wait_for(reader.read(), patient(5)) == b"", (
            "it need not wait for nothing"
        )
    writer.close()
    expect_log("Uncaught exception GET /")
    assert site.room.connected == 0


# Ending


async def test_the_server_says_goodbye(site: Site) -> None:
    site.serve()
    peer = await site.connect()
    peer.send(ask(2))
    assert await answer(peer) == 0
    site.room.present[0].close(4000, "enough")
    assert await answer(peer) == 1
    assert await peer.close_frame() == (4000, "enough")
    assert site.room.present, "it waits for the answer"
    peer.send(GOODBYE)
    await site.empty()
    assert await peer.end() == b""


async def test_the_client_says_goodbye(site: Site) -> None:
    site.serve()
    peer = await site.connect()
    peer.send(ask(2) + GOODBYE + ask(1))
    assert [await answer(peer), await answer(peer)] == [0, 1]
    assert await peer.close_frame() == (1000, "bye")
    assert await peer.end() == b""
    await site.empty()


async def test_both_say_goodbye_at_once(site: Site) -> None:
    site.serve()
    peer = await site.connect()
    await until(lambda: site.room.present)
    peer.send(GOODBYE)
    site.room.present[0].close(4000)
    assert await peer.close_frame() == (4000, "")
    assert await peer.end() == b""
    await site.empty()


async def test_a_goodbye_arrives_although_the_client_keeps_talking(site: Site) -> None:
    site.serve()
    peer = await site.connect()
    await until(lambda: site.room.present)
    peer.send(ask(0) * 20_000)
    site.room.present[0].close(4000)
    peer.send(ask(0) * 20_000)
    assert await peer.close_frame() == (4000, "")
    peer.send(GOODBYE)
    assert await peer.end() == b""


@pytest.mark.parametrize("who", ["the server", "the client"])
async def test_who_does_not_finish_saying_goodbye_is_cut_off(site: Site, who: str) -> None:
    site.serve(limits=Limits(close_timeout=0.2))
    peer = await site.connect()
    await until(lambda: site.room.present)
    client = site.room.present[0]
    while client.unsent_bytes == 0:  # the kernel takes some, the peer does not read
        client.send("x" * 50_000)
    if who == "the server":
        client.close(4000)
    else:
        peer.send(GOODBYE)
    await site.empty()
    peer.reset()


async def test_a_client_that_hangs_up_has_left(site: Site) -> None:
    site.serve()
    peer = await site.connect()
    peer.send(ask(2))
    await peer.leave()
    await until(lambda: site.room.connected)
    await site.empty()


async def test_writing_to_a_client_that_was_cut_off_is_nothing_to_write_home_about(
    site: Site,
) -> None:
    site.serve()
    peer = await site.connect()
    await until(lambda: site.room.present)
    client = site.room.present[0]
    peer.reset()
    await turns(1)
    # The first write finds out; those behind it must not be told of one by one in the log.
    for number in range(100):
        client.send(number)
    await site.empty()


async def test_a_client_that_vanishes_is_found_out_by_its_silence(site: Site) -> None:
    site.serve(ping_pong_interval=0.1)
    vanished = await site.connect()
    alive = await site.connect()
    await until(lambda: len(site.room.present) == 2)
    for _ in range(5):
        opcode, payload = await alive.frame()
        assert opcode == Opcode.PING
        alive.send(masked(Opcode.PONG, payload))
    assert len(site.room.present) == 1
    assert (await vanished.end()).startswith(b"\x89\x00")
    await alive.leave()
    await site.empty()


async def test_heartbeats_are_for_those_who_ask_for_them(site: Site) -> None:
    site.serve()
    peer = await site.connect(headers=b"Sec-WebSocket-Protocol: chat, snorky\r\n")
    peer.send_text("")
    assert await peer.text() == ""


# Handlers that take their time


class Slow(SnorkyWebSocketHandler):
    """Waits in ``open`` and at every message until the test lets it go on."""

    gates: asyncio.Queue[asyncio.Future[None]]

    async def open(self) -> None:  # type: ignore[override]
        await self._wait()
        super().open()

    async def on_message(self, message: str | bytes) -> None:
        await self._wait()
        super().on_message(message)

    def _wait(self) -> Awaitable[None]:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.put_nowait(gate)
        return gate

    def on_close(self) -> None:
        if self.client in self.service_registry.clients:
            super().on_close()


@pytest.fixture
async def slow() -> type[Slow]:
    Slow.gates = asyncio.Queue()
    return Slow


async def test_messages_wait_for_open_and_for_each_other(site: Site, slow: type[Slow]) -> None:
    site.serve(slow)
    peer = await site.connect(behind=ask(1) + ask(2))
    peer.send(ask(1) * 20_000)
    (await slow.gates.get()).set_result(None)
    for expected in (1, 2, 1):
        gate = await slow.gates.get()
        await turns(20)
        assert slow.gates.empty(), "one at a time"
        gate.set_result(None)
        for number in range(expected):
            assert await answer(peer) == number
    peer.reset()
    async with asyncio.timeout(DEADLINE):
        while site.room.present:  # those that had arrived already
            (await slow.gates.get()).set_result(None)
            await turns()


async def test_a_client_may_leave_while_its_message_is_handled(
    site: Site, slow: type[Slow]
) -> None:
    site.serve(slow)
    peer = await site.connect()
    (await slow.gates.get()).set_result(None)
    peer.send(ask(1))
    gate = await slow.gates.get()
    peer.reset()
    await turns()
    gate.set_result(None)
    await site.empty()


async def test_a_handler_that_hangs_does_not_keep_its_client(site: Site, slow: type[Slow]) -> None:
    site.serve(slow, limits=Limits(close_timeout=0.1))
    peer = await site.connect()
    (await slow.gates.get()).set_result(None)
    peer.send(ask(1))
    gate = await slow.gates.get()
    site.room.present[0].close(4000)
    assert await peer.close_frame() == (4000, "")
    await site.empty()
    gate.set_result(None)
    await turns()
    assert await peer.end() == b""
