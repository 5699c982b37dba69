"""A site behind both doors, and what comes back for the same bytes from each of them."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, StaticFileHandler
from websockets.frames import Opcode

from snorky import ServiceRegistry
from snorky.client import Client
from snorky.identity import Handshake, Refused
from snorky.limits import Limits
from snorky.request_handlers.front_door import FrontDoor
from snorky.request_handlers.http import LiveHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import Service
from tests.lines import DEADLINE, masked

PROXY = "127.0.0.1"
LET_IN = b"HTTP/1.1 101 "
LIMITS = Limits(handshake_timeout=1, max_message_bytes=4096)


class Mirror(Service):
    """Greets with who it takes the client for, and sends everything back."""

    def client_connected(self, client: Client) -> None:
        self.send_message_to(client, [client.identity, client.remote_address])

    def process_message_from(self, client: Client, msg: Any) -> None:
        self.send_message_to(client, msg)


def who(handshake: Handshake) -> Any:
    """Mallory may not come in; of the others everything that was understood is told."""
    name = handshake.headers.get("X-Name")
    if name == "mallory":
        raise Refused(403, "Not you, größter Feind")
    if name == "nobody":
        raise Refused
    if name == "bug":
        raise ZeroDivisionError
    return [
        name,
        handshake.path,
        handshake.host,
        handshake.origin,
        handshake.secure,
        {key: list(values) for key, values in handshake.arguments.items()},
        dict(handshake.cookies),
        sorted(handshake.headers.items()),
    ]


def site() -> tuple[Application, list[Any]]:
    registry = ServiceRegistry([Mirror("mirror")], authenticate=who, limits=LIMITS)
    route = SnorkyWebSocketHandler.get_route(registry, "/ws")
    routes = [
        route,
        ("/live", LiveHandler),
        (r"/static/([\w.-]+)", StaticFileHandler, {"path": __file__.rpartition("/")[0]}),
    ]
    return Application(routes, log_function=lambda handler: None), [route]


@asynccontextmanager
async def both_doors(*, behind_proxy: bool = False) -> AsyncIterator[tuple[int, int]]:
    """The same site through Tornado and through the front door: their ports."""
    application, routes = site()
    tornado = HTTPServer(
        application,
        idle_connection_timeout=LIMITS.handshake_timeout,
        body_timeout=LIMITS.handshake_timeout,
        max_body_size=LIMITS.max_message_bytes,
        xheaders=behind_proxy,
        trusted_downstream=[PROXY],
    )
    proxies = [PROXY] if behind_proxy else []
    front = FrontDoor(application, routes, limits=LIMITS, trusted_proxies=proxies)
    ports = []
    for door in (tornado, front):
        listening = bind_sockets(0, "127.0.0.1")
        ports.append(int(listening[0].getsockname()[1]))
        door.add_sockets(listening)
    try:
        yield ports[0], ports[1]
    finally:
        for door in (tornado, front):
            door.stop()
            await door.close_all_connections()


def message(value: Any) -> bytes:
    text = json.dumps({"service": "mirror", "message": value})
    return masked(Opcode.TEXT, text.encode())


AND_NOW_WEBSOCKET = message("still there?") + masked(Opcode.CLOSE, b"\x03\xe8")
AND_NOW_HTTP = b"GET /live HTTP/1.1\r\nHost: last\r\nConnection: close\r\n\r\n"


async def answer(port: int, *pieces: bytes, until: bytes = b"HTTP/1.1 ") -> bytes:
    """All that comes back until the server closes the connection.

    Behind the answer that begins with ``until`` the connection is tried: by a message if that is
    the answer to a WebSocket, by another request if not. Where it does not come, the server's time
    limit ends the wait.
    """
    trial = AND_NOW_WEBSOCKET if until == LET_IN else AND_NOW_HTTP
    loop = asyncio.get_running_loop()
    received = bytearray()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        async def send(data: bytes) -> None:
            with suppress(ConnectionError):  # what was answered before can still be read
                await loop.sock_sendall(sock, data)

        for piece in pieces:
            await send(piece)
            for _ in range(3):
                await asyncio.sleep(0)
        tried = False
        async with asyncio.timeout(DEADLINE):
            with suppress(ConnectionError):
                while data := await loop.sock_recv(sock, 1 << 16):
                    received += data
                    if not tried and b"\r\n\r\n" in received.partition(until)[2]:
                        tried = True
                        await send(trial)
    return comparable(bytes(received))


def comparable(received: bytes) -> bytes:
    """Without what says who answered, when, and under which port."""
    received = re.sub(rb"(Server|Date|Last-Modified): [^\r]*\r\n", b"", received)
    received = re.sub(rb"(?i)Sec-WebSocket", b"Sec-WebSocket", received)
    return re.sub(rb"127\.0\.0\.1:\d+", b"127.0.0.1:PORT", received)


async def answers(
    ports: tuple[int, int], *pieces: bytes, until: bytes = b"HTTP/1.1 "
) -> tuple[bytes, bytes]:
    tornado, front = await asyncio.gather(*(answer(port, *pieces, until=until) for port in ports))
    return tornado, front


def head(*fields: str, line: str = "GET /ws HTTP/1.1", without: Sequence[str] = ()) -> bytes:
    """A request for a WebSocket, with more fields, or without some."""
    usual = [
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]
    kept = [field for field in usual if field.partition(":")[0] not in without]
    return "\r\n".join([line, *kept, *fields, "", ""]).encode("latin-1")
