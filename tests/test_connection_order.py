"""Random programs against the promised order: nothing is reordered, lost or repeated.

Within a channel, and between a channel and the messages sent to one client alone, order holds;
nothing follows a close frame. Programs mix replies, publications, joining, leaving, slow reading,
awaited messages and every way to end. They run over a transport in memory that says exactly what
was written when, and a smaller number of them over real sockets on both event loops.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from tornado.iostream import IOStream
from websockets.frames import Opcode

from snorky.audience import Audience
from snorky.connected_client import ConnectedClient
from snorky.connection import Connection
from snorky.envelope import Envelope, text_frame
from snorky.limits import Limits
from snorky.request_handlers.stream_transport import StreamTransport
from tests.lines import (
    MemoryLine,
    Recorder,
    SocketLine,
    connect_in_memory,
    masked,
    take_frames,
    turns,
)
from tests.patience import patient

CLIENTS = 4
CHANNELS = 2
ALONE = None
"""In the place of a channel: a message sent to one client alone."""

LIMITS = Limits(max_unsent_bytes=600, max_messages_per_turn=3, close_timeout=60)

# Programs

clients = st.integers(0, CLIENTS - 1)
channels = st.integers(0, CHANNELS - 1)
sizes = st.sampled_from([0, 0, 0, 30, 100, 900])
memberships = st.lists(st.sets(channels), min_size=CLIENTS, max_size=CLIENTS)
actions = st.one_of(
    st.tuples(st.just("publish"), channels, sizes),
    st.tuples(st.just("tell"), clients, sizes),
    st.tuples(st.just("tell_later"), clients, sizes),
    st.tuples(st.just("join"), clients, channels),
    st.tuples(st.just("leave"), clients, channels),
    st.tuples(st.just("reply"), sizes),
    st.tuples(st.just("hold")),
)
ends = st.one_of(
    st.tuples(st.just("close"), clients),
    st.tuples(st.just("say_goodbye"), clients),
    st.tuples(st.just("break_protocol"), clients),
    st.tuples(st.just("lose"), clients),
)
messages = st.lists(
    st.one_of(actions, actions, actions, st.tuples(st.just("close"), clients)),
    min_size=1,
    max_size=5,
)
steps = st.one_of(
    st.tuples(st.just("receive"), clients, st.lists(messages, min_size=1, max_size=6)),
    st.tuples(st.just("receive"), clients, st.lists(messages, min_size=1, max_size=6)),
    actions,
    st.tuples(st.just("turn")),
    st.tuples(st.just("turn")),
    st.tuples(st.just("drain"), clients, st.sampled_from([1, 50, 10_000])),
    st.tuples(st.just("drain"), clients, st.just(10_000)),
    st.tuples(st.just("release")),
    st.tuples(st.just("ping"), clients),
    ends,
)
programs = st.lists(steps, min_size=5, max_size=40)
module_limits = st.fixed_dictionaries(
    {
        "snorky.turn.RECEIVERS_PER_TURN": st.sampled_from([1, 2, 3, 1000]),
        "snorky.audience.MAX_PENDING_BYTES": st.sampled_from([50, 200, 1 << 18]),
        "snorky.connection.CORK_BYTES": st.sampled_from([80, 1 << 16]),
    }
)


class Peer:
    """One client: its connection, its end of the line, and what it has to receive."""

    def __init__(self, world: World) -> None:
        self.client = ConnectedClient("peer")
        self.connection = Connection(self.client, world, limits=world.limits, ping_interval=None)
        self.line: Any = None
        self.expected: list[tuple[int | None, int]] = []
        self.pings = 0
        self.sent = 0  # messages given to the line
        self.handled = 0  # messages that the server handled
        self.held: asyncio.Future[None] | None = None
        self.may_end = False  # somebody asked for an end
        self.may_miss_the_rest = False  # the line was cut
        self.said_goodbye = False
        self.gone = False

    def expect(self, channel: int | None, number: int) -> None:
        if not self.connection.closing:
            self.expected.append((channel, number))


class World:
    """The server's receiver and the model of what has to arrive, in one."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.limits = replace(LIMITS, max_unsent_bytes=LIMITS.max_unsent_bytes * scale)
        self.audiences = [Audience() for _ in range(CHANNELS)]
        self.members: list[set[Peer]] = [set() for _ in range(CHANNELS)]
        self.peers = [Peer(self) for _ in range(CLIENTS)]
        self.numbers = itertools.count()

    # The receiver of the connections

    def client_connected(self, client: Any) -> None:
        """Peers are known from the start."""

    def process_message_raw(self, client: Any, text: str) -> Awaitable[None] | None:
        peer = next(peer for peer in self.peers if peer.client is client)
        serial, message, _padding = json.loads(text)
        assert serial == peer.handled, "a message was lost, repeated or reordered"
        assert peer.held is None, "a message was handled while the one before it was awaited"
        peer.handled += 1
        for name, *arguments in message:
            if name == "reply":
                self.tell(peer, *arguments)
            elif name == "hold":
                peer.held = peer.held or asyncio.get_running_loop().create_future()
            else:
                self.act(name, *arguments)
        return peer.held

    def client_disconnected(self, client: Any) -> None:
        peer = next(peer for peer in self.peers if peer.client is client)
        assert not peer.gone
        peer.gone = True
        for channel, members in enumerate(self.members):
            if peer in members:
                members.remove(peer)
                self.act("publish", channel, 10)  # the others are told, the one who left is not

    # What programs do

    def act(self, name: str, *arguments: Any) -> None:
        if name == "publish":
            channel, size = arguments
            number = next(self.numbers)
            for peer in self.members[channel]:
                peer.expect(channel, number)
            self.audiences[channel].send(Envelope("", self._item(channel, number, size)))
        elif name == "hold":
            pass  # means something only where a message is handled
        elif name == "reply":
            self.tell(self.peers[0], *arguments)
        elif name == "release":
            for peer in self.peers:
                held, peer.held = peer.held, None
                if held is not None:
                    held.set_result(None)
        else:
            peer = self.peers[arguments[0]]
            getattr(self, name)(peer, *arguments[1:])

    def tell(self, peer: Peer, size: int) -> None:
        number = next(self.numbers)
        peer.expect(ALONE, number)
        peer.client.send(Envelope("", self._item(ALONE, number, size)))

    def tell_later(self, peer: Peer, size: int) -> None:
        asyncio.get_running_loop().call_soon(self.tell, peer, size)

    def join(self, peer: Peer, channel: int) -> None:
        if not peer.gone:
            self.members[channel].add(peer)
            self.audiences[channel].add(peer.client)

    def leave(self, peer: Peer, channel: int) -> None:
        self.members[channel].discard(peer)
        self.audiences[channel].remove(peer.client)

    def close(self, peer: Peer) -> None:
        peer.may_end = True
        peer.client.close(4000, "bye")

    def say_goodbye(self, peer: Peer) -> None:
        peer.may_end = True
        self.feed(peer, masked(Opcode.CLOSE, b"\x03\xe8"))
        peer.said_goodbye = True

    def break_protocol(self, peer: Peer) -> None:
        peer.may_end = True
        self.feed(peer, b"\xff\xff")

    def feed(self, peer: Peer, data: bytes) -> None:
        if peer.said_goodbye and isinstance(peer.line, SocketLine):
            # A socket that is closed before it has read all resets its line: that takes along
            # what the peer has not received yet.
            peer.may_miss_the_rest = True
        peer.line.feed(data)

    def lose(self, peer: Peer) -> None:
        peer.may_end = peer.may_miss_the_rest = True
        peer.line.lose()

    def ping(self, peer: Peer) -> None:
        self.feed(peer, masked(Opcode.PING, b"%d" % peer.pings))
        peer.pings += 1

    def drain(self, peer: Peer, size: int) -> None:
        peer.line.drain(size * self.scale)

    def receive(self, peer: Peer, messages: list[Any]) -> None:
        frames = bytearray()
        for message in messages:
            text = json.dumps([peer.sent, message, "x" * self.scale]).encode()
            frames += masked(Opcode.TEXT, text)
            peer.sent += 1
        self.feed(peer, bytes(frames))

    def _item(self, channel: int | None, number: int, size: int) -> Any:
        return [channel, number, "x" * (size * self.scale)]

    # The end

    async def settle(self, patience: float) -> None:
        """Let everybody read on until nothing moves any more.

        The kernel may still hold something then: ``patience`` is how long to wait for that.
        """
        quiet = 0
        before: Any = None
        deadline = time.monotonic() + patience
        while quiet < 20 or (
            time.monotonic() < deadline and not all(map(has_everything, self.peers))
        ):
            self.act("release")
            for peer in self.peers:
                self.drain(peer, 1 << 20)
            await asyncio.sleep(0)
            now = [(len(p.line.received), p.handled, p.gone, p.held) for p in self.peers]
            quiet = quiet + 1 if now == before else 0
            before = now

    async def end(self) -> None:
        for peer in self.peers:
            peer.line.lose()
        async with asyncio.timeout(patient(20)):
            while not all(peer.gone for peer in self.peers):
                await asyncio.sleep(0)
        for peer in self.peers:
            assert peer.client.connection is None
            assert not peer.connection.audiences
        assert not any(map(len, self.audiences))


def items_and_controls(received: bytes) -> tuple[list[tuple[int | None, int]], list[bytes], bool]:
    """What whole frames hold: messages, pongs, and whether a close frame came last."""
    items: list[tuple[int | None, int]] = []
    pongs = []
    rest = bytearray(received)
    frames = take_frames(rest)
    for index, (opcode, payload) in enumerate(frames):
        if opcode == Opcode.TEXT:
            channel, number, _padding = json.loads(payload)["message"]
            items.append((channel, number))
        elif opcode == Opcode.PONG:
            pongs.append(payload)
        else:
            assert opcode == Opcode.CLOSE
            assert frames[index + 1 :] == [], "something follows a close frame"
            assert not rest, "something follows a close frame"
            return items, pongs, True
    return items, pongs, False


def has_everything(peer: Peer) -> bool:
    items, pongs, closed = items_and_controls(bytes(peer.line.received))
    if peer.may_miss_the_rest or peer.connection.close_code == 3000:
        return True
    if peer.connection.closing:
        return closed
    return len(items) == len(peer.expected) and len(pongs) == peer.pings


def check(peer: Peer) -> None:
    connection = peer.connection
    items, pongs, closed_politely = items_and_controls(bytes(peer.line.received))
    if connection.close_code == 3000:
        peer.may_miss_the_rest = True
        if isinstance(peer.line, MemoryLine):
            assert peer.line.cut_at > LIMITS.max_unsent_bytes, "cut without a reason"
    else:
        assert peer.may_end or not connection.closing, "closed without a reason"
        if connection.closing and not peer.may_miss_the_rest:
            assert closed_politely
    whole = not peer.may_miss_the_rest
    for channel in range(CHANNELS):
        expected = [item for item in peer.expected if item[0] in (channel, ALONE)]
        came = [item for item in items if item[0] in (channel, ALONE)]
        assert came == (expected if whole else expected[: len(came)])
    assert pongs == [b"%d" % number for number in range(len(pongs))]
    if not connection.closing:
        assert peer.handled == peer.sent
        assert len(pongs) == peer.pings


async def run(
    joined: list[set[int]],
    program: list[Any],
    connect: Connect,
    scale: int = 1,
    patience: float = 0,
) -> None:
    world = World(scale)
    for peer, its_channels in zip(world.peers, joined, strict=True):
        await connect(peer)
        for channel in its_channels:
            world.join(peer, channel)
    for name, *arguments in program:
        if name == "turn":
            await asyncio.sleep(0)
        else:
            world.act(name, *arguments)
    await world.settle(patience)
    for peer in world.peers:
        check(peer)
    await world.end()


Connect = Callable[[Peer], Awaitable[None]]


@pytest.fixture(scope="module", params=[asyncio.new_event_loop, uvloop.new_event_loop])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


@pytest.mark.usefixtures("each_fanout")
@settings(max_examples=500, deadline=None)
@given(joined=memberships, program=programs, module_limits=module_limits, insistent=st.booleans())
def test_no_program_reorders_loses_or_repeats_a_message(
    joined: list[set[int]], program: list[Any], module_limits: dict[str, int], insistent: bool
) -> None:
    async def connect(peer: Peer) -> None:
        peer.line = MemoryLine(peer.connection, insistent=insistent)
        peer.connection.connection_made(peer.line)

    with changed(module_limits):
        in_memory.run(run(joined, program, connect))


in_memory = asyncio.Runner()


@pytest.mark.usefixtures("each_fanout")
@settings(max_examples=100, deadline=None)
@given(joined=memberships, program=programs, module_limits=module_limits, tornados=st.booleans())
def test_nor_does_any_over_real_sockets(
    runner: asyncio.Runner,
    tornados: bool,
    joined: list[set[int]],
    program: list[Any],
    module_limits: dict[str, int],
) -> None:
    async def connect(peer: Peer) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.socket()
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            ours.connect(listener.getsockname())
            ours.setblocking(False)
            theirs, _ = listener.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        peer.line = SocketLine(ours)
        if tornados:
            StreamTransport(IOStream(theirs)).start(peer.connection)
        else:
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: peer.connection, theirs)

    with changed(module_limits):
        runner.run(run(joined, program, connect, scale=50, patience=patient(5)))


async def test_a_client_that_may_go_on_waits_until_another_one_is_done() -> None:
    def echo(client: Any, message: str) -> None:
        client.send(message)

    alice, alices_line = connect_in_memory(
        Recorder(echo), limits=Limits(max_unsent_bytes=1000), insistent=True
    )
    for text in (b"x" * 600, b"held back"):
        alices_line.feed(masked(Opcode.TEXT, text))
        await turns()
    assert len(alices_line.writes) == 1, "she has not read the first answer"

    def let_alice_read(client: Any, message: str) -> None:
        client.send("to bob")
        alices_line.drain(1000)  # her transport tells at once that she may go on
        client.send("to bob too")

    _bob, bobs_line = connect_in_memory(Recorder(let_alice_read))
    bobs_line.feed(masked(Opcode.TEXT, b"go"))
    await turns()
    assert b"".join(bobs_line.writes) == text_frame("to bob") + text_frame("to bob too")
    assert alices_line.writes[1:] == [text_frame("held back")]
    assert alice.unsent_bytes == len(text_frame("held back"))


@contextmanager
def changed(values: dict[str, int]) -> Iterator[None]:
    """Set module constants, to get slices and early writes often."""
    with ExitStack() as stack:
        for name, value in values.items():
            stack.enter_context(patch(name, value))
        yield
