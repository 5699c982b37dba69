"""A loop that stood still takes nobody for gone who came in time."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.request_handlers.comet import SnorkyCometHandler
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from tests.lines import until
from tests.patience import patient

DELAY = 0.5

Routes = Callable[..., list[Any]]
EDGES: list[tuple[Routes, str, bytes]] = [
    (SnorkyCometHandler.get_routes, "", b"GET /poll?session=%b HTTP/1.1\r\nHost: x\r\n\r\n"),
    (
        SnorkySockJSHandler.get_routes,
        "/000/mine/xhr",
        b"POST /000/mine/xhr HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    ),
]


async def ask(sock: socket.socket, request: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, request)


async def opened(port: int, path: str) -> socket.socket:
    """A connection on which a session was opened."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    request = f"POST {path or '/'} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    await ask(sock, request.encode())
    answer = b""
    while not answer.endswith((b"o\n", b"}")):
        answer += await loop.sock_recv(sock, 4096)
    return sock


@pytest.mark.parametrize(("get_routes", "path", "poll"), EDGES, ids=["comet", "sockjs"])
@pytest.mark.parametrize("seconds", [2 * DELAY, DELAY * 0.9])
async def test_who_polled_meanwhile_is_still_there(
    listen: Callable[..., int], get_routes: Routes, path: str, poll: bytes, seconds: float
) -> None:
    routes = get_routes(ServiceRegistry(), "", disconnect_delay=DELAY)
    endpoint = routes[0][2]["endpoint"]
    port = listen(Application(routes, log_function=lambda handler: None))
    with await opened(port, path) as sock:
        ((session_id, session),) = endpoint.sessions.items()
        await ask(sock, poll.replace(b"%b", session_id.encode()))
        time.sleep(seconds)  # noqa: ASYNC251  # what a slow service does
        await until(lambda: session.receiver is not None or session.closed)
        await asyncio.sleep(DELAY)
        assert not session.closed
        assert endpoint.sessions == {session_id: session}
    await until(lambda: session.closed)
    await until(lambda: not endpoint.sessions)


async def test_who_did_not_come_is_gone_although_the_loop_is_always_late(
    listen: Callable[..., int],
) -> None:
    routes = SnorkyCometHandler.get_routes(ServiceRegistry(), "", disconnect_delay=0.1)
    endpoint = routes[0][2]["endpoint"]
    port = listen(Application(list(routes), log_function=lambda handler: None))
    with await opened(port, ""):
        begun = time.monotonic()
        while endpoint.sessions:
            time.sleep(0.3)  # noqa: ASYNC251
            await asyncio.sleep(0)
            assert time.monotonic() - begun < patient(10)
