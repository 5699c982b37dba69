"""The front door: who is let in without Tornado, who waits how long, and how many there may be."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from tornado.web import Application
from websockets.frames import Opcode

from snorky import ServiceRegistry
from snorky.client import Client
from snorky.identity import Handshake
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.request_handlers.front_door import FrontDoor
from snorky.request_handlers.http import LiveHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler, WebSocketClient
from snorky.services.base import Service
from tests.lines import HANDSHAKE, RESET, Peer, masked, until

HEAD = HANDSHAKE + b"\r\n"
LIVE = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Hall(Service):
    """Where clients arrive; sends back what it is told."""

    def __init__(self) -> None:
        super().__init__("hall")
        self.clients: list[Client] = []

    def client_connected(self, client: Client) -> None:
        self.clients.append(client)

    def process_message_from(self, client: Client, msg: Any) -> None:
        self.send_message_to(client, msg)

    def client_disconnected(self, client: Client) -> None:
        self.clients.remove(client)


class House:
    """A registry behind a front door, at ``/``; ``/live`` is Tornado's."""

    def __init__(
        self,
        open_front_door: Callable[..., tuple[FrontDoor, int]],
        *,
        authenticate: Any = None,
        handler: type[SnorkyWebSocketHandler] = SnorkyWebSocketHandler,
        path: str = "/",
        trusted_proxies: tuple[str, ...] = (),
        **limits: Any,
    ) -> None:
        self.hall = Hall()
        self.by_tornado: list[str] = []
        """Paths of the requests that Tornado handled."""
        self.by_itself: list[tuple[str, int]] = []
        """Paths and statuses of those that the front door answered itself."""
        bounds = Limits(**limits)
        self.registry = ServiceRegistry([self.hall], authenticate=authenticate, limits=bounds)
        route = handler.get_route(self.registry, path)
        application = Application(
            [route, ("/live", LiveHandler)],
            log_function=lambda handler: self.by_tornado.append(handler.request.path),
        )
        self.door, self.port = open_front_door(
            application,
            [route],
            limits=bounds,
            trusted_proxies=trusted_proxies,
            log_request=lambda request, status, why: self.by_itself.append((request.path, status)),
        )


async def said(peer: Peer, message: Any) -> Any:
    peer.send_text(json.dumps({"service": "hall", "message": message}))
    return json.loads(await peer.text())["message"]


async def connected(port: int, data: bytes = b"") -> tuple[asyncio.StreamReader, Peer]:
    """A connection on which ``data`` was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    peer = Peer(reader, writer)
    if data:
        peer.send(data)
    return reader, peer


async def answer_to(port: int, data: bytes) -> bytes:
    """What comes before the server ends the connection."""
    _, peer = await connected(port, data)
    received = await peer.end()
    await peer.leave()
    return received


# Who is let in


async def test_a_plain_websocket_never_meets_tornado(open_front_door: Any) -> None:
    house = House(open_front_door)
    peer = await Peer.connect(house.port)

    assert await said(peer, "hello") == "hello"
    assert house.by_tornado == []
    assert house.by_itself == [("/", 101)]
    (client,) = house.hall.clients
    assert type(client) is WebSocketClient
    assert client.req_handler is None
    assert client.remote_address == "127.0.0.1"
    await peer.leave()
    await until(lambda: not house.hall.clients and not house.door.connections)


async def test_frames_sent_with_the_request_are_not_lost(open_front_door: Any) -> None:
    house = House(open_front_door)
    message = b'{"service": "hall", "message": %d}'
    frames = b"".join(masked(Opcode.TEXT, message % n) for n in range(3))
    peer = await Peer.connect(house.port, behind=frames)

    assert [json.loads(await peer.text())["message"] for _ in range(3)] == [0, 1, 2]
    assert house.by_tornado == []
    await peer.leave()


async def test_our_own_client_gets_its_subprotocol(open_front_door: Any) -> None:
    house = House(open_front_door)
    reader, peer = await connected(
        house.port, HANDSHAKE + b"Sec-WebSocket-Protocol: chat, snorky\r\n\r\n"
    )

    head = await reader.readuntil(b"\r\n\r\n")
    assert b"\r\nSec-WebSocket-Protocol: snorky\r\n" in head
    peer.send_text("")
    assert await peer.text() == ""
    assert house.by_tornado == []
    await peer.leave()


@pytest.mark.parametrize("path", ["/(room)?", "/.*"])
async def test_a_route_that_is_a_pattern_is_tornado_s(open_front_door: Any, path: str) -> None:
    house = House(open_front_door, path=path)
    peer = await Peer.connect(house.port)

    assert await said(peer, 1) == 1
    assert house.by_tornado == ["/"]
    await peer.leave()


async def test_the_text_of_a_pattern_is_no_path(open_front_door: Any) -> None:
    house = House(open_front_door, path="/(a|b)", handshake_timeout=0.2)

    answer = await answer_to(house.port, HEAD.replace(b" / ", b" /(a|b) "))
    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_a_derived_handler_is_tornado_s(open_front_door: Any) -> None:
    class Own(SnorkyWebSocketHandler):
        def check_origin(self, origin: str) -> bool:
            return origin == "http://evil.example"

    house = House(open_front_door, handler=Own)
    peer = await Peer.connect(house.port, headers=b"Origin: http://evil.example\r\n")

    assert await said(peer, 1) == 1
    assert house.by_tornado == ["/"]
    await peer.leave()


# Proxies


async def address_of(house: House, *fields: bytes, split: bool) -> tuple[Any, Any]:
    """Which address, and whether TLS, the server takes a peer for that sends these fields."""
    request = HANDSHAKE + b"".join(field + b"\r\n" for field in fields) + b"\r\n"
    reader, peer = await connected(house.port, request[:20] if split else request)
    if split:  # then Tornado takes it
        await until(lambda: house.door.connections == 1 and not house.door._silent)
        peer.send(request[20:])
    await reader.readuntil(b"\r\n\r\n")
    (client,) = house.hall.clients
    await peer.leave()
    await until(lambda: not house.hall.clients)
    return client.remote_address, client.identity


@pytest.mark.parametrize("split", [False, True])
async def test_a_proxy_is_believed_where_it_is_trusted(open_front_door: Any, split: bool) -> None:
    fields = (b"X-Forwarded-For: 198.51.100.1, 203.0.113.7", b"X-Forwarded-Proto: https")

    def secure(handshake: Handshake) -> bool:
        return handshake.secure

    plain = House(open_front_door, authenticate=secure)
    behind = House(open_front_door, authenticate=secure, trusted_proxies=("127.0.0.1",))
    other = House(open_front_door, authenticate=secure, trusted_proxies=("203.0.113.9",))

    assert await address_of(plain, *fields, split=split) == ("127.0.0.1", False)
    assert await address_of(behind, *fields, split=split) == ("203.0.113.7", True)
    assert await address_of(other, *fields, split=split) == ("127.0.0.1", False)


# How long one may take


async def test_who_says_nothing_is_cut(open_front_door: Any) -> None:
    house = House(open_front_door, handshake_timeout=0.2)
    before = metrics.handshakes_timed_out
    begun = time.monotonic()
    silent = await asyncio.gather(*(answer_to(house.port, b"") for _ in range(20)))

    assert silent == [b""] * 20
    assert 0.15 < time.monotonic() - begun < 2
    assert metrics.handshakes_timed_out == before + 20
    assert house.door.connections == 0


async def test_who_spoke_while_we_were_busy_is_not_cut(open_front_door: Any) -> None:
    house = House(open_front_door, handshake_timeout=0.05)
    with socket.create_connection(("127.0.0.1", house.port)) as page:
        await until(lambda: house.door.connections == 1)
        page.sendall(HEAD)
        time.sleep(0.1)  # noqa: ASYNC251  # nobody gets a turn meanwhile
        house.door._sweep()  # some loops look at their timers first
        await until(lambda: len(house.hall.clients) == 1)


async def test_each_has_its_own_time(open_front_door: Any) -> None:
    house = House(open_front_door, handshake_timeout=0.3)
    first = asyncio.ensure_future(answer_to(house.port, b""))
    await until(lambda: house.door.connections == 1)
    await asyncio.sleep(0.15)  # half its time is what the second one begins after
    begun = time.monotonic()
    second = asyncio.ensure_future(answer_to(house.port, b""))

    assert await first == b""
    assert not second.done()
    assert await second == b""
    assert time.monotonic() - begun > 0.25


@pytest.mark.parametrize("data", [b"G", HEAD[:-2], LIVE[:-2], b"\x16\x03\x01\x02\x00"])
async def test_who_stops_in_the_middle_is_cut_and_keeps_nobody_busy(
    open_front_door: Any, data: bytes
) -> None:
    house = House(open_front_door, handshake_timeout=0.5)
    begun = time.process_time()

    assert await answer_to(house.port, data) == b""
    assert time.process_time() - begun < 0.25
    assert house.hall.clients == []
    await until(lambda: house.door.connections == 0)


async def test_who_asks_for_nothing_more_is_cut(open_front_door: Any) -> None:
    house = House(open_front_door, handshake_timeout=0.2)

    assert (await answer_to(house.port, LIVE + LIVE)).count(b'{"status": "live"}') == 2
    await until(lambda: house.door.connections == 0)


# How many there may be


async def test_past_the_limit_newcomers_are_refused_until_one_leaves(
    open_front_door: Any, expect_log: Any
) -> None:
    house = House(open_front_door, max_connections=3)
    before = metrics.connections_refused
    places: list[Peer] = []
    _, silent = await connected(house.port)
    reader, http = await connected(house.port, LIVE)
    await reader.readuntil(b"}")
    peer = await Peer.connect(house.port)
    await until(lambda: house.door.connections == 3)

    for data in (HEAD, LIVE, b""):
        refused = await answer_to(house.port, data)
        assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert refused.endswith(b"\r\n\r\nToo many connections")
    assert metrics.connections_refused == before + 3
    assert expect_log.all("There are 3 connections, newcomers are refused") == 1
    assert await said(peer, "undisturbed") == "undisturbed"

    for place in (silent, http, peer):
        await place.leave()
        await until(lambda: house.door.connections == 2)
        newcomer = await Peer.connect(house.port)
        assert await said(newcomer, "in") == "in"
        places.append(newcomer)
    for place in places:
        await place.leave()
    await until(lambda: house.door.connections == 0)


async def test_who_resets_the_connection_is_forgotten(open_front_door: Any) -> None:
    house = House(open_front_door)
    for data in (b"", b"G", HEAD, LIVE) * 50:
        with socket.create_connection(("127.0.0.1", house.port)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.sendall(data)
            if len(data) % 2:
                await asyncio.sleep(0)

    await until(lambda: house.door.connections == 0)
    assert house.hall.clients == []
    peer = await Peer.connect(house.port)
    assert await said(peer, 1) == 1
    await peer.leave()


# Admission


class Porter:
    """Decides when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.decided: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def __call__(self, handshake: Handshake) -> Any:
        self.asked.set()
        return await asyncio.shield(self.decided)


async def test_who_leaves_while_being_admitted_is_never_heard_of(open_front_door: Any) -> None:
    porter = Porter()
    house = House(open_front_door, authenticate=porter)
    _, peer = await connected(house.port, HEAD)
    await porter.asked.wait()
    await peer.leave()
    porter.decided.set_result("alice")

    await until(lambda: house.door.connections == 0)
    assert house.by_itself == []
    assert house.by_tornado == []


async def test_others_are_admitted_while_one_waits(open_front_door: Any) -> None:
    porter = Porter()

    async def decide(handshake: Handshake) -> Any:
        return await porter(handshake) if "X-Wait" in handshake.headers else "bob"

    house = House(open_front_door, authenticate=decide)
    alice = asyncio.ensure_future(Peer.connect(house.port, headers=b"X-Wait: yes\r\n"))
    await porter.asked.wait()
    bob = await Peer.connect(house.port)
    assert not alice.done()
    porter.decided.set_result("alice")
    await alice

    assert [client.identity for client in house.hall.clients] == ["bob", "alice"]
    for peer in (bob, alice.result()):
        await peer.leave()


async def test_the_end_of_the_server_cuts_whom_it_has_not_let_in(open_front_door: Any) -> None:
    porter = Porter()
    house = House(open_front_door, authenticate=porter)
    _, silent = await connected(house.port)
    _, asking = await connected(house.port, HEAD)
    _, half = await connected(house.port, HEAD[:-2])
    await porter.asked.wait()
    await until(lambda: house.door.connections == 3)
    _, late = await connected(house.port, HEAD)

    house.door.stop()
    await house.door.close_all_connections()

    for peer in (silent, asking, half, late):
        assert await peer.end() == b""
        await peer.leave()
    assert house.hall.clients == []
    await until(lambda: house.door.connections == 0)
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection("127.0.0.1", house.port)


async def test_a_handshake_that_has_not_begun_is_cut_too(open_front_door: Any) -> None:
    house = House(open_front_door)
    _, peer = await connected(house.port)
    await until(lambda: house.door.connections == 1)
    peer.send(HEAD)
    while not house.door._handshakes:
        await asyncio.sleep(0)
    house.door.stop()

    assert await peer.end() == b""
    assert house.hall.clients == []
    assert house.door.connections == 0
    await peer.leave()
