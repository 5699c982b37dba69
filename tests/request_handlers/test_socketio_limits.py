"""What Socket.IO peers of bad manners do, and what becomes of them."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import websockets
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.request_handlers.socketio import SnorkySocketIOHandler
from snorky.services.base import RPCService, rpc_command
from tests.lines import turns, until
from tests.patience import patient
from tests.request_handlers.socketio_site import HandPeer, PollingPeer
from tests.request_handlers.websocket_site import Echo

SMALL = Limits(
    max_message_bytes=1000,
    max_unsent_bytes=10_000,
    socket_send_buffer_bytes=4096,
    handshake_timeout=0.2,
    close_timeout=0.2,
    max_connections=20,
)


class Jobs(RPCService):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.go_on = asyncio.Event()

    @rpc_command
    async def wait(self, req: Any) -> str:
        await self.go_on.wait()
        return "done"


class Site:
    def __init__(self, listen: Callable[..., int], limits: Limits = SMALL, **options: Any) -> None:
        self.echo = Echo()
        self.jobs = Jobs("jobs")
        self.registry = ServiceRegistry([self.echo, self.jobs], limits=limits)
        self.route = SnorkySocketIOHandler.get_route(self.registry, **options)
        self.engine = self.route[2]["engine"]
        self.port = listen(Application([self.route]))

    async def gone(self) -> Any:
        async with asyncio.timeout(patient(5)):
            return await self.echo.left.get()


@pytest.fixture
def site(listen: Callable[..., int]) -> Site:
    return Site(listen)


@pytest_asyncio.fixture
async def polling(site: Site) -> AsyncIterator[PollingPeer]:
    peer = PollingPeer(site.port)
    yield peer
    await peer.http.aclose()


async def test_a_reader_that_stops_is_cut_and_the_others_go_on(site: Site) -> None:
    slow, quick = await HandPeer.connect(site.port), await HandPeer.connect(site.port)
    client, other = site.echo.clients
    slow.socket.transport.pause_reading()
    before = metrics.clients_slow
    sent = 0
    while client.connected and sent < 100_000:
        site.echo.broadcast([client, other], "x" * 900)
        sent += 1
        assert await quick.event() == ["echo", "x" * 900]
    assert await site.gone() is client
    assert metrics.clients_slow == before + 1
    assert site.registry.clients == {other}
    await quick.socket.close()
    slow.socket.transport.abort()
    await site.gone()


async def test_a_poller_that_stops_is_cut_when_too_much_waits(
    site: Site, polling: PollingPeer, expect_log: Any
) -> None:
    await polling.connect()
    (client,) = site.echo.clients
    for _ in range(20):
        client.send({"service": "echo", "message": "x" * 900})
        assert client.unsent_bytes < 12_000
    assert await site.gone() is client
    assert site.engine.sockets == {}
    assert (await polling.get()).status_code == 400
    expect_log("400 GET /socket.io/")


async def test_what_was_polled_does_not_count_any_more(site: Site, polling: PollingPeer) -> None:
    await polling.connect()
    (client,) = site.echo.clients
    for number in range(50):
        client.send({"service": "echo", "message": "x" * 900})
        assert (await polling.get()).text == '42["echo","' + "x" * 900 + '"]', number
    assert client.connected


async def test_its_own_answers_never_make_a_client_a_slow_one(site: Site) -> None:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", site.port))
    peer = await HandPeer.connect(site.port, sock=sock)
    (client,) = site.echo.clients
    peer.socket.transport.pause_reading()

    async def emit() -> None:
        for _ in range(100):
            await peer.emit("echo", "x" * 900)

    emitting = asyncio.create_task(emit())
    await until(lambda: client.unsent_bytes > SMALL.max_unsent_bytes / 2)
    await turns(200)
    assert client.unsent_bytes < SMALL.max_unsent_bytes
    peer.socket.transport.resume_reading()
    for _ in range(100):
        assert await peer.event() == ["echo", "x" * 900]
    await emitting
    await peer.socket.close()
    await site.gone()


async def test_what_was_sent_before_a_close_still_arrives(
    site: Site, polling: PollingPeer, expect_log: Any
) -> None:
    peer = await HandPeer.connect(site.port)
    await polling.connect()
    for code in (3000, 1000):
        for client in tuple(site.registry.clients):
            client.send([code])
            client.close(code)
            client.close(code)
            client.send("nothing more")
        assert await peer.event() == ["message", [code]]
        if code == 3000:
            assert await peer.closed() == 1005  # politely, not cut
            assert (await polling.get()).text == '42["message",[3000]]\x1e1'
            assert (await polling.get()).status_code == 400
            expect_log("400 GET /socket.io/")
            peer = await HandPeer.connect(site.port)
        else:
            assert await peer.packet() == "41"
        await site.gone()
    await peer.socket.close()


async def test_a_session_that_has_left_every_namespace_ends(
    site: Site, polling: PollingPeer
) -> None:
    await polling.connect()
    idle = await HandPeer.open(site.port)
    await idle.closed()  # so the first has had its time too, and went on
    assert len(site.engine.sockets) == 1
    await polling.post("41")
    await site.gone()
    await until(lambda: site.engine.sockets == {})


async def test_a_message_that_is_too_long_ends_the_connection(site: Site) -> None:
    peer = await HandPeer.connect(site.port)
    await peer.emit("echo", "x" * 1000)
    assert await peer.closed() == 1009
    await site.gone()


async def test_a_message_that_is_too_long_ends_the_session_of_a_poller(
    site: Site, polling: PollingPeer, expect_log: Any
) -> None:
    await polling.connect()
    assert (await polling.post("42" + json.dumps(["echo", "x" * 1000]))).status_code == 413
    await site.gone()
    expect_log("413 POST /socket.io/")


async def test_attachments_count_as_their_message(site: Site) -> None:
    for attachment in (b"x" * 300, b""):
        peer = await HandPeer.connect(site.port)
        await peer.socket.send('4550-["echo"]')
        with suppress(websockets.ConnectionClosed):
            for _ in range(50):
                await peer.socket.send(attachment)
        await peer.closed()
        await site.gone()
    assert site.engine.sockets == {}


@pytest.mark.parametrize(
    "packet",
    [
        "",
        "x",
        "4",
        "4x",
        "42",
        "42{}",
        "42[]",
        "42[1]",
        '42["echo",',
        '4{"a":1}',
        "42" + "[" * 900,
        "4" + "[" * 990,
        "44",
        "49",
        '451-["echo",{"_placeholder":true,"num":7}]',
        b"bytes",
    ],
)
async def test_what_is_no_packet_ends_the_connection(site: Site, packet: str | bytes) -> None:
    peer = await HandPeer.connect(site.port)
    await peer.socket.send(packet)
    if isinstance(packet, str) and packet.startswith("45"):
        await peer.socket.send(b"the attachment")
    await peer.closed()
    await site.gone()
    assert site.engine.sockets == {}


@pytest.mark.parametrize("body", ["x", "", "42[]", b"\xff", "40\x1ex"])
async def test_what_is_no_packet_ends_the_session_of_a_poller(
    site: Site, polling: PollingPeer, body: str | bytes, expect_log: Any
) -> None:
    await polling.connect()
    await polling.post(body)
    await site.gone()
    expect_log.all("400 POST /socket.io/")
    assert site.engine.sockets == {}


async def test_many_packets_in_one_request_are_handled_in_order(
    site: Site, polling: PollingPeer
) -> None:
    await polling.connect()
    body = "\x1e".join(f'42["echo",{number}]' for number in range(40))
    assert (await polling.post(body)).text == "ok"
    packets = (await polling.get()).text.split("\x1e")
    assert packets == [f'42["echo",{number}]' for number in range(40)]


async def test_events_named_connect_and_disconnect_do_neither(site: Site, expect_log: Any) -> None:
    peer = await HandPeer.connect(site.port)
    for name in ("connect", "disconnect"):
        await peer.emit(name, {})
    await peer.emit("echo", "still here")
    assert await peer.event() == ["echo", "still here"]
    assert len(site.echo.clients) == 1
    assert site.echo.left.empty()
    expect_log('non existing service "connect"')
    expect_log('non existing service "disconnect"')
    await peer.socket.close()
    await site.gone()


async def test_nothing_is_heard_before_a_peer_has_connected_to_a_namespace(site: Site) -> None:
    peer = await HandPeer.open(site.port)
    await peer.emit("echo", "too early")
    await peer.socket.send("40")
    assert (await peer.packet()).startswith("40{")
    await peer.emit("echo", "now")
    assert await peer.event() == ["echo", "now"]
    await peer.socket.close()
    await site.gone()


async def test_a_session_that_connects_to_nothing_ends(site: Site, polling: PollingPeer) -> None:
    peer = await HandPeer.open(site.port)
    await polling.open()
    await peer.closed()
    await until(lambda: site.engine.sockets == {})


async def test_sessions_are_counted_and_too_many_are_refused(
    listen: Callable[..., int], expect_log: Any
) -> None:
    site = Site(listen, replace(SMALL, handshake_timeout=patient(1.5)))
    async with httpx2.AsyncClient(trust_env=False) as http:
        url = f"http://127.0.0.1:{site.port}/socket.io/?EIO=4&transport=polling"
        answers = [(await http.get(url)).status_code for _ in range(22)]
    assert answers == [200] * 20 + [503] * 2
    assert expect_log.all("503 GET /socket.io/") == 2
    await until(lambda: site.engine.sockets == {})


async def test_a_client_has_a_limited_number_of_calls_under_way(site: Site) -> None:
    peer = await HandPeer.connect(site.port)
    call = json.dumps(["jobs", {"command": "wait", "params": {}}])
    for number in range(65):
        await peer.socket.send(f"42{number}{call}")
    error = '4364[{"type":"error","message":"Too many pending calls"}]'
    assert await peer.packet() == error
    site.jobs.go_on.set()
    for number in range(64):
        assert await peer.packet() == f'43{number}[{{"type":"response","data":"done"}}]'
    await peer.socket.close()
    await site.gone()


async def test_jsonp_is_refused_since_any_page_could_read_it(site: Site, expect_log: Any) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        url = f"http://127.0.0.1:{site.port}/socket.io/?EIO=4&transport=polling&j=0"
        assert (await http.get(url)).status_code == 400
    assert site.engine.sockets == {}
    expect_log("400 GET /socket.io/")


@pytest.mark.usefixtures("refused_pages")
async def test_a_foreign_page_cannot_post_to_a_session(
    site: Site, polling: PollingPeer, expect_log: Any
) -> None:
    await polling.connect()
    evil = {"Origin": "https://evil.example"}
    for answer in (
        await polling.post('42["echo",1]', headers=evil),
        await polling.get(headers=evil),
    ):
        assert answer.status_code == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
    friend = {"Origin": "http://127.0.0.1:8000"}
    answer = await polling.post('42["echo",2]', headers=friend)
    assert answer.headers["Access-Control-Allow-Origin"] == friend["Origin"]
    assert (await polling.get()).text == '42["echo",2]'
    assert expect_log.all("403 POST /socket.io/") == expect_log.all("403 GET /socket.io/") == 1


async def test_browsers_may_ask_before_they_send_headers_of_their_own(
    site: Site, polling: PollingPeer
) -> None:
    headers = {"Origin": "http://127.0.0.1:8000", "Access-Control-Request-Headers": "x-token"}
    answer = await polling.http.options(polling.url, headers=headers)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Headers"] == "x-token"


async def test_a_poller_whose_request_breaks_off_has_gone(site: Site, polling: PollingPeer) -> None:
    await polling.connect()
    waiting = asyncio.create_task(polling.get())
    (session,) = site.engine.sockets.values()
    await until(lambda: session.queue.carriers)
    waiting.cancel()
    await site.gone()
    assert site.engine.sockets == {}


async def test_a_poll_that_waits_at_the_end_is_told_of_it(site: Site, polling: PollingPeer) -> None:
    await polling.connect()
    waiting = asyncio.create_task(polling.get())
    (session,) = site.engine.sockets.values()
    await until(lambda: session.queue.carriers)
    (client,) = site.registry.clients
    client.close(1001, "server going away")
    assert (await waiting).text == "1"


async def test_an_upgrade_that_comes_to_nothing_leaves_the_poller_alone(
    site: Site, polling: PollingPeer
) -> None:
    await polling.connect()
    query = f"EIO=4&transport=websocket&sid={polling.params['sid']}"
    url = f"ws://127.0.0.1:{site.port}/socket.io/?{query}"
    for probe in (None, "2nonsense"):
        async with websockets.connect(url) as socket:
            if probe is not None:
                await socket.send(probe)
                await socket.wait_closed()
        await until(lambda: not next(iter(site.engine.sockets.values())).upgrading)
        await polling.post('42["echo",1]')
        assert (await polling.get()).text == '42["echo",1]'


async def test_a_session_that_is_over_takes_its_waiting_requests_and_sockets_with_it(
    site: Site, polling: PollingPeer
) -> None:
    await polling.connect()
    query = f"EIO=4&transport=websocket&sid={polling.params['sid']}"
    async with websockets.connect(f"ws://127.0.0.1:{site.port}/socket.io/?{query}") as socket:
        await socket.send("2probe")
        assert await socket.recv() == "3probe"
        site.echo.clients[0].close(3000)
        async with asyncio.timeout(patient(5)):
            await socket.wait_closed()
    await site.gone()


async def test_sessions_nobody_knows_are_refused(
    site: Site, polling: PollingPeer, expect_log: Any
) -> None:
    polling.params["sid"] = "unknown"
    assert (await polling.get()).status_code == 400
    assert (await polling.post("40")).status_code == 400
    del polling.params["sid"]
    assert (await polling.post("40")).status_code == 400
    polling.params["EIO"] = "3"
    assert (await polling.get()).status_code == 400
    polling.params["transport"] = "flashsocket"
    assert (await polling.get()).status_code == 400
    query = "EIO=4&transport=websocket&sid=unknown"
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(f"ws://127.0.0.1:{site.port}/socket.io/?{query}")
    assert expect_log.all("400 GET /socket.io/") == 4
    assert expect_log.all("400 POST /socket.io/") == 2


async def test_a_peer_that_answers_no_pings_has_gone(listen: Callable[..., int]) -> None:
    site = Site(listen, ping_interval=patient(0.2), ping_timeout=patient(0.5))
    silent = await HandPeer.connect(site.port)
    poller = PollingPeer(site.port)
    await poller.connect()
    before = metrics.clients_silent
    assert {await site.gone(), await site.gone()} == set(site.echo.clients)
    assert metrics.clients_silent == before + 2
    await silent.closed()
    await poller.http.aclose()


async def test_messages_nested_deeply_reach_everybody(site: Site) -> None:
    def nested(depth: int, core: Any) -> Any:
        for _ in range(depth):
            core = [core]
        return core

    peers = [await HandPeer.connect(site.port) for _ in range(2)]
    for depth in (1, 100, 400):
        site.echo.broadcast(site.echo.clients, nested(depth, 1))
        site.echo.broadcast(site.echo.clients, nested(depth, b"bytes"))
        for peer in peers:
            assert await peer.event() == ["echo", nested(depth, 1)]
            packet = await peer.packet()
            if packet.startswith("451-"):
                assert await peer.packet() == b"bytes"
            else:
                assert json.loads(packet[2:]) == ["echo", nested(depth, "Ynl0ZXM=")]
    for peer in peers:
        await peer.socket.close()
        await site.gone()


async def test_what_cannot_be_encoded_raises_in_the_sender(site: Site) -> None:
    peer = await HandPeer.connect(site.port)
    (client,) = site.echo.clients
    endless: list[Any] = []
    endless.append(endless)
    for message in (object(), endless):
        with pytest.raises((TypeError, ValueError)):
            client.send({"service": "echo", "message": message})
    client.send([1])
    assert await peer.event() == ["message", [1]]
    await peer.socket.close()
    await site.gone()


async def test_nothing_is_kept_of_who_has_gone(site: Site, polling: PollingPeer) -> None:
    clients = metrics.clients
    peer = await HandPeer.connect(site.port)
    await polling.connect()
    await peer.emit("echo", "hello")
    await peer.event()
    assert metrics.clients == clients + 2
    kept = [weakref.ref(client) for client in site.echo.clients]
    await peer.socket.close()
    await polling.post("41")
    for _ in kept:
        await site.gone()
    site.echo.clients.clear()
    core = site.engine.handlers["message"].__self__
    await until(lambda: not core._tasks and not site.engine.sockets)
    assert metrics.clients == clients
    assert site.engine.sockets == core.environ == core._peers == core._binary_bytes == {}
    assert core.manager.rooms == core.manager.pending_disconnect == {}
    gc.collect()
    assert [reference() for reference in kept] == [None, None]


async def test_an_overridden_check_of_origins_decides_alone(listen: Callable[..., int]) -> None:
    class Partners(SnorkySocketIOHandler):
        def check_origin(self, origin: str) -> bool:
            return origin.endswith(".example")

    route = Partners.get_route(ServiceRegistry([Echo()]), "/live/")
    port = listen(Application([route]))
    peer = PollingPeer(port, "/live")
    assert (await peer.get(headers={"Origin": "https://a.example"})).status_code == 200
    origin = websockets.Origin("https://b.example")
    socket = await HandPeer.connect(port, "/live/", origin=origin)
    await socket.socket.close()
    await peer.http.aclose()
    await until(lambda: len(route[2]["engine"].sockets) == 1)  # the poller's
