"""WebSockets through Tornado's TLS: the same protocol over a stream of Tornado's."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvloop
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.web import Application
from websockets.frames import Opcode

from snorky import ServiceRegistry
from snorky.client import Client
from snorky.connected_client import ConnectedClient
from snorky.connection import Connection
from snorky.limits import Limits
from snorky.request_handlers.stream_transport import StreamTransport
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import Service
from tests.conftest import Certificate
from tests.lines import HANDSHAKE, Peer, Recorder, masked, turns, until
from tests.patience import patient

GOODBYE = masked(Opcode.CLOSE, (1000).to_bytes(2))


class Echo(Service):
    """Sends everything back; a number makes it send that many bytes."""

    def __init__(self) -> None:
        super().__init__("echo")
        self.present: list[Client] = []
        self.handled = 0
        self.quiet = False

    def client_connected(self, client: Client) -> None:
        self.present.append(client)

    def process_message_from(self, client: Client, msg: Any) -> None:
        self.handled += 1
        if not self.quiet:
            self.send_message_to(client, "x" * msg if isinstance(msg, int) else msg)

    def client_disconnected(self, client: Client) -> None:
        self.present.remove(client)


class Site:
    """Serves over TLS, and its peers."""

    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate
        self.echo = Echo()
        self._peers: list[Peer] = []

    def serve(
        self,
        handler: type[SnorkyWebSocketHandler] = SnorkyWebSocketHandler,
        limits: Limits | None = None,
    ) -> None:
        registry = ServiceRegistry([self.echo], limits=limits)
        application = Application([handler.get_route(registry)], log_function=lambda _: None)
        self._server = HTTPServer(application, ssl_options=self.certificate.server)
        sockets = bind_sockets(0, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        self._server.add_sockets(sockets)

    async def connect(self, **options: Any) -> Peer:
        self._peers.append(await Peer.connect(self.port, ssl=self.certificate.client, **options))
        return self._peers[-1]

    async def empty(self) -> None:
        await until(lambda: not self.echo.present)

    async def close(self) -> None:
        for peer in self._peers:
            await peer.leave()
        await self.empty()
        self._server.stop()
        await self._server.close_all_connections()


Story = Callable[[Site], Awaitable[None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, certificate: Certificate) -> Iterator[Callable[..., None]]:
    """``run(story)``: tell it on one of the event loops."""

    async def tell(story: Story) -> None:
        site = Site(certificate)
        try:
            await story(site)
        finally:
            await site.close()

    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda story: runner.run(tell(story))


def say(message: Any) -> bytes:
    return masked(Opcode.TEXT, json.dumps({"service": "echo", "message": message}).encode())


async def heard(peer: Peer) -> Any:
    return json.loads(await peer.text())["message"]


def test_messages_of_every_size_come_and_go_in_order(run: Callable[[Story], None]) -> None:
    async def story(site: Site) -> None:
        site.serve()
        peer = await site.connect(behind=say("early") + say("bird"))
        assert [await heard(peer), await heard(peer)] == ["early", "bird"]
        for size in (1, 60_000, 900_000, 2):
            peer.send(say(size) + say([size]))
            assert len(await heard(peer)) == size
            assert await heard(peer) == [size]
        peer.send(b"".join(say(["x" * 50, number]) for number in range(3000)))
        for number in range(3000):
            assert await heard(peer) == ["x" * 50, number]

    run(story)


def test_either_side_may_say_goodbye(run: Callable[[Story], None]) -> None:
    async def story(site: Site) -> None:
        site.serve()
        peer = await site.connect()
        peer.send(say("last words") + GOODBYE + say("too late"))
        assert await heard(peer) == "last words"
        assert await peer.close_frame() == (1000, "")
        assert await peer.end() == b""
        await site.empty()
        peer = await site.connect()
        await until(lambda: site.echo.present)
        client = site.echo.present[0]
        client.send("last words")
        client.close(4000, "enough")
        assert await peer.text() == '"last words"'
        assert await peer.close_frame() == (4000, "enough")
        peer.send(GOODBYE)
        assert await peer.end() == b""

    run(story)


@pytest.mark.parametrize("behind", [b"", b"x" * 3_000_000], ids=["nothing more", "more"])
def test_who_breaks_the_protocol_is_told_at_once_that_it_is_over(
    run: Callable[[Story], None], behind: bytes
) -> None:
    async def story(site: Site) -> None:
        site.serve(limits=Limits(close_timeout=60))
        peer = await site.connect()
        begun = time.monotonic()
        peer.send(b"\x83\x80" + bytes(4) + behind)
        assert await peer.close_frame() == (1002, "unknown opcode 0x3")
        assert await peer.end() == b""
        await peer.leave()
        await site.empty()
        assert time.monotonic() - begun < patient(5)

    run(story)


@pytest.mark.parametrize("who", ["the server", "the client"])
def test_who_does_not_finish_saying_goodbye_is_cut_off(
    run: Callable[[Story], None], who: str
) -> None:
    async def story(site: Site) -> None:
        site.serve(limits=Limits(close_timeout=0.2, max_unsent_bytes=30_000_000))
        peer = await site.connect()
        await until(lambda: site.echo.present)
        client = site.echo.present[0]
        client.send("x" * 10_000_000)
        if who == "the server":
            client.close(4000)
        else:
            peer.send(GOODBYE)
        await site.empty()

    run(story)


def test_who_hangs_up_has_left_and_was_heard_to_the_end(run: Callable[[Story], None]) -> None:
    async def story(site: Site) -> None:
        site.serve()
        site.echo.quiet = True
        peer = await site.connect()
        peer.send(say("x" * 100) * 3000)
        await peer.leave()
        await until(lambda: site.echo.handled == 3000)
        await site.empty()
        peer = await site.connect()
        await until(lambda: site.echo.present)
        client = site.echo.present[0]
        peer.reset()
        for number in range(100):
            client.send(number)
        await site.empty()

    run(story)


def test_who_breaks_the_encryption_has_left(
    run: Callable[[Story], None], expect_log: Callable[[str], object]
) -> None:
    async def story(site: Site) -> None:
        site.serve()
        peer = await site.connect()
        await until(lambda: site.echo.present)
        peer.send_unencrypted(b"\x17\x03\x03\x00\x40" + b"not encrypted at all" * 10)
        await site.empty()
        expect_log("DECRYPTION_FAILED_OR_BAD_RECORD_MAC")

    run(story)


async def test_whose_line_fails_at_any_read_has_left() -> None:
    class Failing(IOStream):
        def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
            raise OSError(errno.EHOSTUNREACH, "No route to host")

    ours, theirs = socket.socketpair()
    client, receiver = ConnectedClient(), Recorder()
    connection = Connection(client, receiver, limits=Limits(), ping_interval=None)
    StreamTransport(Failing(theirs)).start(connection)
    await until(lambda: receiver.left == [client])
    assert connection.close_code == 1006
    ours.close()


def test_who_does_not_read_is_cut_off(run: Callable[[Story], None]) -> None:
    async def story(site: Site) -> None:
        site.serve()
        await site.connect()
        await until(lambda: site.echo.present)
        client = site.echo.present[0]
        most_unsent = 0
        while client.connected:
            client.send("x" * 50_000)
            most_unsent = max(most_unsent, client.unsent_bytes)
            await asyncio.sleep(0)
        assert Limits().max_unsent_bytes < most_unsent <= Limits().max_unsent_bytes + 51_000

    run(story)


async def test_who_reads_on_is_heard_again() -> None:
    def echo(client: Client, message: str) -> None:
        client.send(message)

    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    client = ConnectedClient()
    connection = Connection(client, Recorder(echo), limits=Limits(), ping_interval=None)
    StreamTransport(IOStream(theirs)).start(connection)
    while client.unsent_bytes <= Limits().max_unsent_bytes // 2:
        client.send("x" * 50_000)
    while client.unsent_bytes > 200_000:
        ours.recv(10_000)
        await turns()
    client.send("x" * 300_000)  # while no more calls are taken, but below the mark
    ours.send(masked(Opcode.TEXT, b"still there?"))
    received = b""

    def answered() -> bool:
        nonlocal received
        with suppress(BlockingIOError):
            received = received[-100:] + ours.recv(10_000)
        return b"still there?" in received

    await until(answered)
    ours.close()
    await until(lambda: not client.connected)


def test_what_the_socket_has_taken_is_not_unsent(run: Callable[[Story], None]) -> None:
    async def story(site: Site) -> None:
        site.serve()
        peer = await site.connect()
        await until(lambda: site.echo.present)
        client = site.echo.present[0]
        for _ in range(10):
            client.send("x" * 5000)
            assert client.unsent_bytes == 0
        client.send("x" * 5_000_000)
        assert 0 < client.unsent_bytes < 5_000_000
        for _ in range(11):
            await peer.text()
        assert client.unsent_bytes == 0

    run(story)


def test_messages_leave_at_once(run: Callable[[Story], None]) -> None:
    async def story(site: Site) -> None:
        site.serve()
        await site.connect()
        await until(lambda: site.echo.present)
        connection = site.echo.present[0].connection  # type: ignore[attr-defined]
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(story)


def test_who_talks_without_pause_lets_the_others_have_their_turn(
    run: Callable[[Story], None],
) -> None:
    def talk(site: Site, end: threading.Event) -> None:
        plain = socket.create_connection(("127.0.0.1", site.port))
        message = say("x" * 60_000) * 10
        with site.certificate.client.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
            sock.sendall(HANDSHAKE + b"\r\n")
            while not end.is_set():
                sock.sendall(message)

    async def story(site: Site) -> None:
        site.serve()
        site.echo.quiet = True
        end = threading.Event()
        talking = asyncio.get_running_loop().run_in_executor(None, talk, site, end)
        handled = []
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            before = site.echo.handled
            await asyncio.sleep(0)
            handled.append(site.echo.handled - before)
        end.set()
        await talking
        assert sum(handled) > 100
        assert max(handled) <= 3, "more than was read at once"

    run(story)


def test_a_handler_that_takes_its_time_holds_messages_back(run: Callable[[Story], None]) -> None:
    gates: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()

    class Slow(SnorkyWebSocketHandler):
        async def on_message(self, message: str | bytes) -> None:
            gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            gates.put_nowait(gate)
            await gate
            super().on_message(message)

    async def story(site: Site) -> None:
        site.serve(Slow)
        peer = await site.connect()
        peer.send(b"".join(say(["x" * 1000, number]) for number in range(200)))
        for number in range(200):
            gate = await gates.get()
            assert gates.empty(), "one at a time"
            gate.set_result(None)
            assert await heard(peer) == ["x" * 1000, number]
        peer.send(say("one more"))
        gate = await gates.get()
        peer.reset()
        await site.empty()  # although nothing is read meanwhile
        gate.set_result(None)
        await turns()

    run(story)


def test_connections_leave_nothing_behind(run: Callable[[Story], None]) -> None:
    def alive() -> Counter[str]:
        kinds = (Client, Connection, StreamTransport, SnorkyWebSocketHandler)
        return Counter(
            type(each).__name__ for each in gc.get_objects() if issubclass(type(each), kinds)
        )

    async def story(site: Site) -> None:
        site.serve()
        gc.collect()
        gc.disable()
        try:
            before = alive()  # what other tests have left behind
            for number in range(100):
                peer = await site.connect()
                peer.send(say(1))
                await peer.text()
                if number % 2:
                    peer.send(GOODBYE)
                    await peer.close_frame()
                await peer.leave()
            await site.empty()
            await turns()
            assert not alive() - before
        finally:
            gc.enable()

    run(story)
