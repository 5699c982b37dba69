"""What counts as a connection, who keeps one for ever, and the port of the back end."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tornado.netutil import bind_sockets
from tornado.web import Application, StaticFileHandler

from snorky import ServiceRegistry
from snorky.edges import lasting_sessions
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.request_handlers.backend_door import MAX_OTHER_BODY_BYTES, BackendDoor
from snorky.request_handlers.comet import SnorkyCometHandler
from snorky.request_handlers.front_door import FrontDoor
from snorky.request_handlers.http import BackendHTTPHandler, LiveHandler
from snorky.request_handlers.socketio import SnorkySocketIOHandler
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from tests.lines import DEADLINE, HANDSHAKE, Peer, until

LIVE = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Subclass(SnorkyWebSocketHandler):
    """Its WebSockets come in through Tornado."""


class House:
    """Every edge of ``snorky serve`` behind a front door."""

    def __init__(
        self, open_front_door: Callable[..., tuple[FrontDoor, int]], **limits: Any
    ) -> None:
        bounds = Limits(**limits)
        self.registry = registry = ServiceRegistry(limits=bounds)
        route = SnorkyWebSocketHandler.get_route(registry, "/")
        application = Application(
            [
                route,
                Subclass.get_route(registry, "/subclass"),
                *SnorkyCometHandler.get_routes(registry, "/comet"),
                *SnorkySockJSHandler.get_routes(registry, "/sockjs"),
                SnorkySocketIOHandler.get_route(registry),
                ("/live", LiveHandler),
            ],
            log_function=lambda handler: None,
        )
        self.door, self.port = open_front_door(application, [route], limits=bounds)


async def asked(port: int, request: bytes, end: bytes) -> tuple[bytes, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(DEADLINE):
        return await reader.readuntil(end), writer


def post(path: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode()


async def test_a_session_without_a_connection_takes_no_place(open_front_door: Any) -> None:
    house = House(open_front_door, max_connections=3)
    for path, end in (("/comet", b"}"), ("/sockjs/0/a/xhr", b"o\n"), ("/sockjs/0/b/xhr", b"o\n")):
        _, writer = await asked(house.port, post(path), end)
        writer.close()
    await until(lambda: house.door.connections == 0)
    assert len(house.registry.clients) == 3
    peers = [await Peer.connect(house.port) for _ in range(3)]
    for peer in peers:
        await peer.leave()


async def test_a_visitor_by_events_takes_one_place(open_front_door: Any) -> None:
    house = House(open_front_door)
    answer, opening = await asked(house.port, post("/comet"), b"}")
    session = json.loads(answer.partition(b"\r\n\r\n")[2])["session"]
    get = f"GET /comet/events?session={session} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    _, events = await asked(house.port, get.encode(), b"event: open")
    assert house.door.connections == 2
    opening.close()
    await until(lambda: house.door.connections == 1)
    assert len(house.registry.clients) == 1
    events.close()
    await until(lambda: house.door.connections == 0)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/subclass",
        "/sockjs/websocket",
        "/sockjs/0/a/websocket",
        "/socket.io/?EIO=4&transport=websocket",
    ],
)
async def test_a_websocket_takes_one_place_whichever_way_it_comes(
    open_front_door: Any, path: str
) -> None:
    house = House(open_front_door)
    head = HANDSHAKE.replace(b"GET /", f"GET {path}".encode())
    answer, writer = await asked(house.port, head + b"\r\n", b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101")
    await asyncio.sleep(0.05)
    assert house.door.connections == 1
    writer.close()
    await until(lambda: house.door.connections == 0)


@pytest.mark.parametrize("path", ["/comet", "/sockjs/0/{}/xhr"])
async def test_sessions_without_a_connection_make_room_for_newcomers(
    listen: Callable[..., int], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(lasting_sessions, "SECONDS_TO_COME_BACK", 0.0)
    registry = ServiceRegistry()
    routes = [
        *SnorkyCometHandler.get_routes(registry, "/comet", max_sessions=2),
        *SnorkySockJSHandler.get_routes(registry, "/sockjs", max_sessions=2),
    ]
    port = listen(Application(routes, log_function=lambda handler: None))

    async def open_session(name: str) -> tuple[str, asyncio.StreamWriter]:
        head, writer = await asked(port, post(path.format(name)), b"\r\n\r\n")
        return head.split()[1].decode(), writer

    for name in "abcd":
        status, writer = await open_session(name)
        assert status == "200"
        writer.close()
    await until(lambda: len(registry.clients) == 2)
    monkeypatch.setattr(lasting_sessions, "SECONDS_TO_COME_BACK", 60.0)
    status, writer = await open_session("e")
    assert status == "503", "they may be between two requests"
    writer.close()


# Who does not read


async def test_who_asks_and_does_not_read_is_cut(open_front_door: Any, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(30_000_000))
    application = Application(
        [(r"/(big)", StaticFileHandler, {"path": str(tmp_path)})], log_function=lambda _: None
    )
    door, port = open_front_door(application, [], limits=Limits(write_timeout=0.4))
    with socket.socket() as narrow:
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.connect(("127.0.0.1", port))
        narrow.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: door.connections == 1)
        await until(lambda: door.connections == 0)


async def test_who_reads_slowly_is_not(open_front_door: Any, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(8_000_000))
    application = Application(
        [(r"/(big)", StaticFileHandler, {"path": str(tmp_path)})], log_function=lambda _: None
    )
    _, port = open_front_door(application, [], limits=Limits(write_timeout=0.4))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
    writer.write(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    read = 0
    while data := await reader.read(400_000):
        read += len(data)
        await asyncio.sleep(0.01)
    assert read > 8_000_000
    writer.close()


# The port of the back end

OpenBackend = Callable[..., tuple[BackendDoor, int]]


@pytest.fixture
async def open_backend() -> AsyncIterator[OpenBackend]:
    doors: list[BackendDoor] = []

    def run(max_connections: int = 10, **limits: Any) -> tuple[BackendDoor, int]:
        bounds = Limits(**limits)
        options = {"service_registry": ServiceRegistry(limits=bounds), "api_key": "key"}
        application = Application(
            [("/live", LiveHandler), ("/backend", BackendHTTPHandler, options)],
            log_function=lambda handler: None,
        )
        door = BackendDoor(application, limits=bounds, max_connections=max_connections)
        listening = bind_sockets(0, "127.0.0.1")
        door.add_sockets(listening)
        doors.append(door)
        return door, int(listening[0].getsockname()[1])

    yield run
    for door in doors:
        door.stop()
        await door.close_all_connections()


HEAD = b"POST /backend HTTP/1.1\r\nHost: x\r\n"
BODY = b"Content-Length: 1000\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        HEAD + BODY,
        HEAD + b"X-Backend-Key: key\r\n" + BODY + b"[",
        b"POST /live HTTP/1.1\r\nHost: x\r\n" + BODY,
        b"POST /nothing HTTP/1.1\r\nHost: x\r\n" + BODY,
        LIVE,
    ],
    ids=["nothing", "half a head", "no body", "half a body", "at /live", "nowhere", "no more"],
)
async def test_nobody_takes_for_ever_at_the_back_end(
    open_backend: OpenBackend, data: bytes
) -> None:
    door, port = open_backend(backend_timeout=0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    async with asyncio.timeout(DEADLINE):
        with suppress(ConnectionError):
            await reader.read()
    await until(lambda: door.connections == 0)
    writer.close()


@pytest.mark.parametrize("path", ["/live", "/nothing"])
async def test_long_bodies_are_for_the_back_end_alone(
    open_backend: OpenBackend, path: str, expect_log: Any
) -> None:
    _, port = open_backend()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    length = MAX_OTHER_BODY_BYTES + 1
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE):
        assert b"200 OK" not in await reader.read()
    expect_log.all("Content-Length too long")
    writer.close()


async def test_past_its_limit_the_back_end_takes_no_more(
    open_backend: OpenBackend, expect_log: Any
) -> None:
    door, port = open_backend(max_connections=2)
    before = metrics.connections_refused
    kept = [(await asked(port, LIVE, b"}"))[1] for _ in range(2)]
    refused, writer = await asked(port, LIVE, b"connections")
    assert refused.startswith(b"HTTP/1.1 503")
    assert metrics.connections_refused == before + 1
    expect_log("There are 2 connections, newcomers are refused")
    for one in (writer, *kept):
        one.close()
    await until(lambda: door.connections == 0)
