"""Clients of SockJS that leave, vanish, or do not read: each is noticed, and disturbs nobody."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from snorky import ServiceRegistry
from snorky.client import Client
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.services.base import Service
from snorky.services.pubsub import PubSubService
from snorky.testing import FakeClient, call
from tests.lines import RESET, until
from tests.request_handlers.sockjs_site import DEADLINE, SockJSSite
from tests.request_handlers.websocket_site import Echo

STREAMING = [("POST", "xhr_streaming"), ("GET", "eventsource"), ("GET", "htmlfile?c=x")]
POLLING = [("POST", "xhr"), ("GET", "jsonp?c=x")]
LIMITS = Limits(max_unsent_bytes=100_000, socket_send_buffer_bytes=4096)


@pytest.fixture
async def site(listen: Any) -> AsyncIterator[SockJSSite]:
    site = SockJSSite(listen)
    yield site
    await site.http.aclose()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def pubsub() -> PubSubService:
    return PubSubService("pubsub")


@pytest.fixture
def registry(echo: Echo, pubsub: PubSubService) -> ServiceRegistry:
    return ServiceRegistry([echo, pubsub], limits=LIMITS)


def serve(site: SockJSSite, registry: ServiceRegistry, **options: Any) -> None:
    site.serve(*SnorkySockJSHandler.get_routes(registry, "/echo", **options))


async def left(echo: Echo) -> Client:
    async with asyncio.timeout(DEADLINE):
        return await echo.left.get()


async def test_who_does_not_come_back_is_gone(
    site: SockJSSite, registry: ServiceRegistry, echo: Echo
) -> None:
    serve(site, registry, disconnect_delay=0.1)
    clients = metrics.clients
    session = await site.open_session()
    assert metrics.clients == clients + 1
    client = await left(echo)

    assert not client.connected
    assert metrics.clients == clients
    client.send("nobody hears it")
    assert (await site.post(session + "/xhr_send", '["x"]')).status_code == 404
    # The id is free: who asks now opens another session.
    assert await site.poll(session) == "o\n"
    assert len(echo.clients) == 2


async def test_who_waits_is_not_gone(
    site: SockJSSite, registry: ServiceRegistry, echo: Echo
) -> None:
    serve(site, registry, disconnect_delay=0.05, heartbeat_interval=0.3)
    async with site.streaming("GET", site.new_session() + "/eventsource") as stream:
        assert "data: o" in await stream.frame(b"o\r\n\r\n")
        assert await stream.frame(b"\r\n\r\n") == "data: h\r\n\r\n"  # six times the delay
        assert echo.left.empty()


@pytest.mark.parametrize(("method", "transport"), STREAMING + POLLING)
@pytest.mark.parametrize("how", ["leaves", "resets"])
async def test_whose_connection_ends_is_gone_at_once(
    site: SockJSSite,
    registry: ServiceRegistry,
    echo: Echo,
    method: str,
    transport: str,
    how: str,
) -> None:
    serve(site, registry, disconnect_delay=60)
    session = await site.open_session()
    _, writer = await site.raw_request(f"{session}/{transport}", method=method)
    await site.until_waiting(session)
    if how == "resets":
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()

    assert not (await left(echo)).connected


@pytest.mark.parametrize("path", ["a/b/websocket", "websocket"])
async def test_whose_websocket_ends_is_gone(
    site: SockJSSite, registry: ServiceRegistry, echo: Echo, path: str
) -> None:
    serve(site, registry)
    clients = metrics.clients
    async with site.connect(f"/echo/{path}"):
        await until(lambda: echo.clients)
        assert metrics.clients == clients + 1
    assert await left(echo) is echo.clients[0]
    assert metrics.clients == clients


async def test_heartbeats_keep_every_transport_open(
    site: SockJSSite, registry: ServiceRegistry
) -> None:
    serve(site, registry, heartbeat_interval=0.1)
    async with site.streaming("POST", site.new_session() + "/xhr_streaming") as stream:
        await stream.frame()
        assert [await stream.frame() for _ in range(4)] == ["o\n", "h\n", "h\n", "h\n"]
    async with site.connect("/echo/a/b/websocket") as socket:
        assert [await socket.recv() for _ in range(4)] == ["o", "h", "h", "h"]


async def publish_until_closed(pubsub: PubSubService, client: Client) -> None:
    author = FakeClient()
    async with asyncio.timeout(2 * DEADLINE):
        while client.connected:
            call(pubsub, author, "publish", channel="news", message="x" * 5000)
            await asyncio.sleep(0)


@pytest.mark.parametrize(("method", "transport"), STREAMING)
async def test_who_does_not_read_is_cut_off_and_nobody_else(
    site: SockJSSite,
    registry: ServiceRegistry,
    echo: Echo,
    pubsub: PubSubService,
    method: str,
    transport: str,
) -> None:
    serve(site, registry)
    slow_clients = metrics.clients_slow
    session = await site.open_session()
    slow = echo.clients[0]
    call(pubsub, slow, "subscribe", channel="news")
    _, writer = await site.raw_request(f"{session}/{transport}", method=method, limit=1024)
    await site.until_waiting(session)
    async with site.connect("/echo/a/b/websocket", max_queue=None) as reading:
        await until(lambda: len(echo.clients) == 2)
        call(pubsub, echo.clients[1], "subscribe", channel="news")
        await publish_until_closed(pubsub, slow)
        assert await left(echo) is slow
        assert metrics.clients_slow == slow_clients + 1
        assert slow.unsent_bytes == 0
        call(pubsub, FakeClient(), "publish", channel="news", message="last")
        frame = "h"
        while "last" not in frame:
            frame = await reading.recv()
    writer.transport.abort()


async def test_who_does_not_read_a_websocket_is_cut_off(
    site: SockJSSite, registry: ServiceRegistry, echo: Echo, pubsub: PubSubService
) -> None:
    serve(site, registry)
    slow_clients = metrics.clients_slow
    async with site.connect("/echo/a/b/websocket", max_queue=1, close_timeout=0.1):
        await until(lambda: echo.clients)
        slow = echo.clients[0]
        call(pubsub, slow, "subscribe", channel="news")
        await publish_until_closed(pubsub, slow)
    assert metrics.clients_slow == slow_clients + 1


async def test_for_who_stays_away_only_so_much_is_kept(
    site: SockJSSite, registry: ServiceRegistry, echo: Echo, pubsub: PubSubService
) -> None:
    serve(site, registry, disconnect_delay=60)
    session = await site.open_session()
    slow = echo.clients[0]
    call(pubsub, slow, "subscribe", channel="news")
    await publish_until_closed(pubsub, slow)

    assert await site.poll(session) == ('c[3000,"slow client: too many unsent bytes"]\n')


async def test_who_reads_nothing_of_a_long_answer_is_noticed(
    site: SockJSSite, registry: ServiceRegistry, echo: Echo
) -> None:
    serve(site, registry, heartbeat_interval=0.1)
    silent_clients = metrics.clients_silent
    session = await site.open_session()
    echo.clients[0].send("x" * 10_000_000)
    _, writer = await site.raw_request(session + "/xhr", limit=1024)

    assert await left(echo) is echo.clients[0]
    assert metrics.clients_silent == silent_clients + 1
    writer.transport.abort()


async def test_an_answer_that_broke_off_ends_the_session(
    site: SockJSSite, registry: ServiceRegistry, echo: Echo
) -> None:
    """A part of it may be lost: the client must not go on as if nothing were missing."""
    serve(site, registry, disconnect_delay=60)
    session = await site.open_session()
    echo.clients[0].send("x" * 10_000_000)
    reader, writer = await site.raw_request(session + "/xhr", limit=1024)
    await reader.readline()
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()

    assert await left(echo) is echo.clients[0]
    assert await site.poll(session) == 'c[1002,"Connection interrupted"]\n'


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the platform lacks it")
async def test_who_vanished_is_noticed_although_the_system_took_it_all(
    site: SockJSSite, echo: Echo
) -> None:
    """What a client leaves unread fits the buffers of the system: no write of ours ever waits."""
    serve(site, ServiceRegistry([echo]), heartbeat_interval=0.2)
    session = await site.open_session()
    with socket.socket() as vanished:
        vanished.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        vanished.connect(("127.0.0.1", site.port))
        head = f"POST {session}/xhr_streaming HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        vanished.send(head.replace("Host: a", "Host: 127.0.0.1").encode())
        await site.until_waiting(session)
        echo.clients[0].send("x" * 60_000)
        assert await left(echo) is echo.clients[0]


@pytest.mark.parametrize("transport", ["xhr", "xhr_streaming"])
async def test_its_own_answers_make_nobody_slow(
    site: SockJSSite, registry: ServiceRegistry, echo: Echo, transport: str
) -> None:
    """Forty answers of ten kilobytes, where ten may wait: calls are held back instead."""
    serve(site, registry, response_limit=1)
    session = await site.open_session()
    calls = [json.dumps({"service": "echo", "message": "x" * 10_000})] * 40
    sending = asyncio.ensure_future(site.send(session, *calls))
    answers = 0
    while answers < 40:
        async with site.streaming("POST", f"{session}/{transport}") as stream:
            frame = (await stream.end()).splitlines()[-1]
        assert frame.startswith("a"), frame
        answers += len(json.loads(frame[1:]))
    await sending


async def test_who_is_closed_gets_what_was_sent_before(
    site: SockJSSite, registry: ServiceRegistry, echo: Echo
) -> None:
    serve(site, registry, disconnect_delay=0.5)
    session = await site.open_session()
    echo.clients[0].send(1)
    echo.clients[0].close(4001, "enough")
    echo.clients[0].send(2)

    assert await left(echo) is echo.clients[0]
    assert await site.poll(session) == 'a["1"]\n'
    assert await site.poll(session) == 'c[4001,"enough"]\n'
    await until(lambda: not site.sessions())


async def test_services_are_not_called_back_from_within_a_send(
    site: SockJSSite, registry: ServiceRegistry, echo: Echo
) -> None:
    """They loop over their own sets of clients while they send."""
    serve(site, registry)
    await site.open_session()
    client = echo.clients[0]
    for _ in range(30):
        client.send("x" * 5000)
    assert client.unsent_bytes == 0  # it has been cut off
    assert echo.left.empty()
    assert await left(echo) is client


class Failing(Service):
    """Fails whenever it can."""

    def client_connected(self, client: Client) -> None:
        raise ValueError("on arrival")

    def client_disconnected(self, client: Client) -> None:
        raise ValueError("on leaving")


async def test_a_service_that_fails_on_arrival_closes_the_session(
    site: SockJSSite, expect_log: Any
) -> None:
    serve(site, ServiceRegistry([Failing("failing")]))
    session = await site.open_session()

    assert await site.poll(session) == 'c[1011,"internal error"]\n'
    expect_log("Unhandled exception while connecting 127.0.0.1")
    expect_log('Unhandled exception in service "failing" while client 127.0.0.1 disconnects')


async def test_a_handler_that_fails_closes_its_session_alone(
    site: SockJSSite, expect_log: Any
) -> None:
    class Fragile(SnorkySockJSHandler):
        def on_message(self, message: str) -> None:
            if message == "break":
                raise ValueError(message)
            self.send(message)

        def on_close(self) -> None:
            super().on_close()
            raise ValueError("close")

    site.serve(*Fragile.get_routes(ServiceRegistry(), "/echo"))
    broken, other = await site.open_session(), await site.open_session()
    await site.send(broken, "break", "behind")
    await site.send(other, "fine")

    assert await site.poll(broken) == 'c[1011,"internal error"]\n'
    assert await site.poll(other) == 'a["fine"]\n'
    expect_log("Unhandled exception in the connection of 127.0.0.1")
    expect_log("Unhandled exception while disconnecting 127.0.0.1")


async def test_many_polls_leave_nothing_behind(
    site: SockJSSite, registry: ServiceRegistry, echo: Echo
) -> None:
    serve(site, registry, disconnect_delay=0.5)
    session = await site.open_session()
    kept = weakref.ref(site.sessions()[0])
    for number in range(100):
        await site.send(session, json.dumps({"service": "echo", "message": number}))
        assert str(number) in await site.poll(session)
    gc.disable()  # what is in no cycle goes without it
    try:
        client = weakref.ref(await left(echo))
        echo.clients.clear()
        await until(lambda: client() is None and kept() is None)
    finally:
        gc.enable()
    assert site.sessions() == []
