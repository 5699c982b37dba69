"""The same bytes to many: nothing is lost or overtaken, with the extension as without."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from snorky import fanout
from snorky.connected_client import ConnectedClient
from snorky.connection import Connection
from snorky.fanout import write_to_all
from snorky.limits import Limits
from tests.conftest import Certificate
from tests.lines import Recorder, connect_in_memory, turns, until
from tests.patience import patient

pytestmark = pytest.mark.usefixtures("each_fanout")

Story = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Story], None]:
    def tell(story: Story) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(story())

    return tell


def new_connection(max_unsent_bytes: int = 100_000_000) -> Connection:
    limits = Limits(max_unsent_bytes=max_unsent_bytes)
    return Connection(ConnectedClient(), Recorder(), limits=limits, ping_interval=None)


async def connect(connection: Connection) -> socket.socket:
    """Give ``connection`` a socket; returns the peer's end, which reads when it is told to."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, ours)
    return theirs


async def receive(sock: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    received = b""
    async with asyncio.timeout(patient(10)):
        while len(received) < size:
            piece = await loop.sock_recv(sock, 1 << 16)
            assert piece, "the line ended early"
            received += piece
    return received


def test_what_a_socket_does_not_take_at_once_arrives_in_order(
    run: Callable[[Story], None],
) -> None:
    async def story() -> None:
        connections = [new_connection() for _ in range(3)]
        peers = [await connect(connection) for connection in connections]
        pieces = [bytes([number]) * 40_000 for number in range(100)]
        for piece in pieces:  # far more than a socket takes
            write_to_all(connections, piece)
        assert all(connection.unsent_bytes > 0 for connection in connections)
        expected = b"".join(pieces)
        for peer in peers:
            assert await receive(peer, len(expected)) == expected
        assert all(connection.unsent_bytes == 0 for connection in connections)
        write_to_all(connections, b"and on")
        for peer in peers:
            assert await receive(peer, 6) == b"and on"
            peer.close()

    run(story)


def test_nothing_overtakes_what_waits_in_the_transport(run: Callable[[Story], None]) -> None:
    async def story() -> None:
        connection = new_connection()
        peer = await connect(connection)
        connection.write(b"1" * 10_000_000)
        write_to_all([connection], b"2")
        connection.write(b"3")
        assert (await receive(peer, 10_000_002))[-3:] == b"123"
        peer.close()

    run(story)


def test_who_does_not_read_is_cut_off_and_the_others_are_not(run: Callable[[Story], None]) -> None:
    async def story() -> None:
        slow, quick = new_connection(100_000), new_connection(100_000)
        slow_peer, quick_peer = await connect(slow), await connect(quick)
        for _ in range(100):
            write_to_all([slow, quick], b"x" * 20_000)
            await receive(quick_peer, 20_000)
        assert slow.closing
        assert not quick.closing
        slow_peer.close()
        quick_peer.close()

    run(story)


def test_a_descriptor_that_belongs_to_somebody_else_by_now_is_left_alone(
    run: Callable[[Story], None],
) -> None:
    async def story() -> None:
        connection = new_connection()
        peer = await connect(connection)
        descriptor = connection.descriptor
        connection.transport.abort()
        assert not connection.closing, "it has not been told yet"
        write_to_all([connection], b"too late")
        await until(lambda: connection.closing)
        others = [sock for _ in range(4) for sock in socket.socketpair()]
        assert descriptor in [sock.fileno() for sock in others], "taken anew"
        write_to_all([connection], b"much too late")
        for sock in others:
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(100)
        for sock in [*others, peer]:
            sock.close()

    run(story)


def test_a_peer_that_has_gone_disturbs_nobody(run: Callable[[Story], None]) -> None:
    async def story() -> None:
        gone, present = new_connection(), new_connection()
        gone_peer, present_peer = await connect(gone), await connect(present)
        gone_peer.close()
        write_to_all([gone, present], b"hello")
        assert await receive(present_peer, 5) == b"hello"
        await until(lambda: gone.closing)
        present_peer.close()

    run(story)


def test_what_is_encrypted_stays_so(run: Callable[[Story], None], certificate: Certificate) -> None:
    async def story() -> None:
        connection = new_connection()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: connection, "127.0.0.1", 0, ssl=certificate.server
        )
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=certificate.client
        )
        await until(lambda: connection.client.connection)
        assert connection.descriptor == -1
        write_to_all([connection], b"secret")
        assert await reader.readexactly(6) == b"secret"
        writer.close()
        server.close()
        await until(lambda: connection.closing)

    run(story)


async def test_a_line_without_a_socket_is_written_to_as_well() -> None:
    _client, line = connect_in_memory()
    assert line._connection.descriptor == -1
    write_to_all([line._connection], b"hello")
    assert line.writes == [b"hello"]


def test_the_extension_is_used_unless_it_is_switched_off() -> None:
    switched_off = os.environ.get(fanout.SWITCH, "0") not in ("", "0")
    assert fanout.IN_C is not switched_off
    ask = "from snorky.fanout import IN_C; print(IN_C)"
    for value, used in [("1", "False"), ("0", "True"), ("", "True")]:
        environment = {**os.environ, fanout.SWITCH: value}
        answer = subprocess.run(
            [sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True
        )
        assert answer.stdout.strip() == used


class TestTheExtension:
    @pytest.fixture(autouse=True)
    def send_to_all(self) -> None:
        from snorky._fanout import send_to_all

        self.send_to_all = send_to_all

    async def test_it_says_how_much_each_has_taken(self) -> None:
        ready, waiting, closing = (new_connection() for _ in range(3))
        peers = [await connect(connection) for connection in (ready, waiting, closing)]
        _client, line = connect_in_memory()
        without = line._connection
        waiting.write(b"x" * 10_000_000)
        closing.closing = True
        everybody = dict.fromkeys([ready, waiting, closing, without])
        assert self.send_to_all(everybody, b"hello") == [(waiting, 0), (closing, 0), (without, 0)]
        [(connection, sent)] = self.send_to_all([ready], b"x" * 10_000_000)
        assert connection is ready
        assert 0 < sent < 10_000_000
        assert self.send_to_all([], b"hello") == []
        for peer in peers:
            peer.close()
        for connection in (ready, waiting):
            connection.transport.abort()
        await turns()

    def test_it_refuses_what_it_does_not_understand(self) -> None:
        with pytest.raises(TypeError):
            self.send_to_all([], "text")
        with pytest.raises(TypeError):
            self.send_to_all(1, b"bytes")
        with pytest.raises(AttributeError):
            self.send_to_all([object()], b"bytes")

    async def test_it_keeps_nothing(self) -> None:
        connection = new_connection()
        peer = await connect(connection)
        connection.write(b"x" * 10_000_000)
        data = b"some bytes"
        before = sys.getrefcount(connection), sys.getrefcount(data)
        for _ in range(100):
            self.send_to_all([connection, connection], data)
        assert (sys.getrefcount(connection), sys.getrefcount(data)) == before
        peer.close()
        await until(lambda: connection.closing)
