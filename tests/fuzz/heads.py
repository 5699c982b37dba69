"""Whatever request the front door takes, Tornado reads as the same request."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.edges.handshakes import fault_of
from snorky.request_handlers.front_door import PEEK_BYTES, FrontDoor
from snorky.request_handlers.requests import handshake_of
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from tests.patience import patient

ROUTES = [SnorkyWebSocketHandler.get_route(ServiceRegistry(), path) for path in ("/", "/ws")]
PROXY = "127.0.0.1"
ADDRESSES = ((PROXY, 1), ("192.0.2.1", 1))
"""Of a proxy that is trusted, and of anybody else."""


def seen_by_front_door(data: bytes, address: tuple[str, int]) -> HTTPServerRequest | None:
    door = FrontDoor(Application(), ROUTES, trusted_proxies=[PROXY])
    seen = data[:PEEK_BYTES]
    end = seen.find(b"\r\n\r\n") + 4
    return door._request_in(seen[:end], address) if end > 4 else None


async def seen_by_tornado(data: bytes, address: tuple[str, int]) -> list[HTTPServerRequest]:
    requests: list[HTTPServerRequest] = []
    server = HTTPServer(requests.append, xheaders=address[0] == PROXY, trusted_downstream=[PROXY])
    ours, theirs = _pair()
    ours.setblocking(False)
    theirs.sendall(data)
    stream = IOStream(ours)
    server.handle_stream(stream, address)
    async with asyncio.timeout(patient(10)):
        while not requests and not stream.closed():
            await asyncio.sleep(0)
    theirs.close()
    await server.close_all_connections()
    return requests


def _pair() -> tuple[socket.socket, socket.socket]:
    """Of TCP: of a Unix socket Tornado believes no address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        return listening.accept()[0], theirs


def meaning(request: HTTPServerRequest) -> list[Any]:
    """All that decides who is let in, and as whom."""
    handshake = handshake_of(request)
    return [
        request.method,
        request.uri,
        handshake.path,
        handshake.host,
        request.host,
        handshake.origin,
        handshake.secure,
        handshake.remote_address,
        handshake.arguments,
        dict(handshake.cookies),
        sorted(request.headers.get_all()),
        fault_of(request.headers),
    ]


def check_head(data: bytes) -> bool:
    """Returns whether the front door takes the request."""
    taken = False
    for address in ADDRESSES:
        ours = seen_by_front_door(data, address)
        if ours is not None:
            taken = True
            theirs = asyncio.run(seen_by_tornado(data, address))
            assert theirs, f"the front door takes what Tornado does not: {data!r}"
            assert meaning(ours) == meaning(theirs[0])
    return taken
