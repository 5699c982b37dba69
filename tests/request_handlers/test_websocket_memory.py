"""What connections leave behind: nothing, not even for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from tornado.httputil import HTTPServerRequest
from tornado.web import Application
from websockets.frames import Opcode

from snorky import ServiceRegistry
from snorky.connection import Connection
from snorky.identity import Handshake
from snorky.request_handlers.websocket import SnorkyWebSocketHandler, WebSocketClient
from snorky.services.pubsub import PubSubService
from tests.lines import HANDSHAKE, masked, until

AT_ONCE = 100

SUBSCRIBE = masked(
    Opcode.TEXT,
    b'{"service":"pubsub","message":{"command":"subscribe","params":{"channel":"news"}}}',
)
GOODBYE = masked(Opcode.CLOSE)


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> Counter[str]:
    kinds = (WebSocketClient, Connection, SnorkyWebSocketHandler, Handshake, HTTPServerRequest)
    return Counter(
        type(each).__name__ for each in gc.get_objects() if issubclass(type(each), kinds)
    )


async def visit(port: int, *, politely: bool) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, HANDSHAKE + b"\r\n" + SUBSCRIBE)
        received = b""
        while b'"response"' not in received:
            data = await loop.sock_recv(sock, 4096)
            assert data
            received += data
        if politely:
            await loop.sock_sendall(sock, GOODBYE)
            while await loop.sock_recv(sock, 4096):
                pass


class Subclass(SnorkyWebSocketHandler):
    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        return super().on_message(message)


@pytest.mark.parametrize(
    ("door", "handler", "connections"),
    [
        ("tornado", SnorkyWebSocketHandler, 3000),
        ("tornado", Subclass, 1000),
        ("front", SnorkyWebSocketHandler, 3000),
    ],
)
async def test_thousands_of_clients_come_and_go(
    listen: Callable[..., int],
    open_front_door: Callable[..., Any],
    without_collector: None,
    door: str,
    handler: type[SnorkyWebSocketHandler],
    connections: int,
) -> None:
    pubsub = PubSubService("pubsub")
    registry = ServiceRegistry([pubsub])
    route = handler.get_route(registry)
    application = Application([route], log_function=lambda _: None)
    if door == "tornado":
        port = listen(application)
    else:
        _, port = open_front_door(application, [route])
    before = alive()
    for _ in range(connections // AT_ONCE):
        await asyncio.gather(*(visit(port, politely=bool(n % 2)) for n in range(AT_ONCE)))
    await until(lambda: not registry.clients)
    assert not pubsub._topics
    assert alive() == before
