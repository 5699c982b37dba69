"""Today's Socket.IO client reaches every service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.identity import Handshake, Refused
from snorky.request_handlers.socketio import (
    SnorkySocketIOHandler,
    SocketIOClient,
    SocketIOHandshake,
)
from snorky.services.base import RPCError, RPCService, rpc_command
from snorky.services.pubsub import PubSubService
from tests.lines import until
from tests.patience import patient
from tests.request_handlers.socketio_site import Pages, run_pages
from tests.request_handlers.websocket_site import Echo

POLLING = {"transports": ["polling"]}
WEBSOCKET = {"transports": ["websocket"]}


class Calculator(RPCService):
    @rpc_command
    def sum(self, req: Any, number1: int, number2: int) -> int:
        return number1 + number2

    @rpc_command
    def refuse(self, req: Any) -> None:
        raise RPCError("No numbers today")

    @rpc_command
    async def later(self, req: Any, seconds: float) -> str:
        self.send_message_to(req.client, {"type": "started"})
        await asyncio.sleep(seconds)
        return "done"

    @rpc_command
    def identity(self, req: Any) -> Any:
        return req.client.identity

    @rpc_command
    def leave(self, req: Any, code: int) -> None:
        req.client.close(code)


@pytest_asyncio.fixture
async def pages() -> AsyncIterator[Pages]:
    async with run_pages() as pages:
        yield pages


class Site:
    """Serves services; ``url`` is where."""

    def __init__(self, listen: Callable[..., int]) -> None:
        self._listen = listen
        self.echo = Echo()

    def serve(self, authenticate: Any = None, **options: Any) -> str:
        services = [Calculator("calculator"), PubSubService("pubsub"), self.echo]
        self.registry = ServiceRegistry(services, authenticate=authenticate)
        route = SnorkySocketIOHandler.get_route(self.registry, **options)
        self.port = self._listen(Application([route]))
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def site(listen: Callable[..., int]) -> Site:
    return Site(listen)


@pytest.mark.parametrize("transport", [POLLING, WEBSOCKET], ids=["polling", "websocket"])
async def test_a_call_is_acknowledged_with_its_response(
    site: Site, pages: Pages, transport: Any
) -> None:
    await pages.open("alice", site.serve(), **transport)
    response = await pages.rpc("alice", "calculator", "sum", number1=1, number2=2)
    assert response == {"type": "response", "data": 3}
    response = await pages.rpc("alice", "calculator", "later", seconds=0)
    assert response == {"type": "response", "data": "done"}
    assert await pages.event("alice", "calculator") == [{"type": "started"}]


@pytest.mark.parametrize("transport", [POLLING, WEBSOCKET], ids=["polling", "websocket"])
async def test_an_error_is_acknowledged_with_its_text(
    site: Site, pages: Pages, transport: Any
) -> None:
    await pages.open("alice", site.serve(), **transport)
    response = await pages.rpc("alice", "calculator", "refuse")
    assert response == {"type": "error", "message": "No numbers today"}
    response = await pages.rpc("alice", "calculator", "unknown")
    assert response == {"type": "error", "message": "Unknown command"}


async def test_a_call_keeps_the_id_that_the_page_gave_it(site: Site, pages: Pages) -> None:
    await pages.open("alice", site.serve())
    call = {"command": "sum", "params": {"number1": 1, "number2": 2}, "callId": 7}
    answer = {"type": "response", "callId": 7, "data": 3}
    assert await pages.call("alice", "calculator", call) == answer
    await pages.emit("alice", "calculator", call)
    assert await pages.event("alice", "calculator") == [answer]


async def test_a_message_to_a_service_without_calls_is_acknowledged_when_it_has_arrived(
    site: Site, pages: Pages
) -> None:
    await pages.open("alice", site.serve())
    assert await pages.call("alice", "echo", "hello") is None
    assert await pages.event("alice", "echo") == ["hello"]


async def test_an_unknown_service_is_said_to_who_asks_for_an_acknowledgement(
    site: Site, pages: Pages, expect_log: Any
) -> None:
    await pages.open("alice", site.serve())
    answer = await pages.rpc("alice", "nothing", "sum")
    assert answer == {"type": "error", "message": "Message refused"}
    expect_log('Message for non existing service "nothing" from client 127.0.0.1')


async def test_events_named_as_the_protocol_s_own_are_messages_like_others(
    site: Site, pages: Pages
) -> None:
    site.echo.name = "ping"
    await pages.open("alice", site.serve())
    await pages.emit("alice", "ping", 1)
    assert await pages.event("alice", "ping") == [1]


async def test_a_broadcast_reaches_everybody_in_order_whatever_the_transport(
    site: Site, pages: Pages
) -> None:
    url = site.serve()
    await pages.open("alice", url, **POLLING)
    await pages.open("bob", url, **WEBSOCKET)
    for name in ("alice", "bob"):
        await pages.rpc(name, "pubsub", "subscribe", channel="news")
    for number in range(50):
        await pages.emit(
            "alice",
            "pubsub",
            {"command": "publish", "params": {"channel": "news", "message": number}},
        )
    for name in ("alice", "bob"):
        received: list[Any] = []
        while len(received) < 50:
            (notification,) = await pages.event(name, "pubsub")
            if notification["type"] == "message":  # not the responses to publish
                received.append(notification["message"])
        assert received == list(range(50))


async def test_a_service_greets_who_connects(site: Site, pages: Pages) -> None:
    site.echo.greeting = "welcome"
    await pages.open("alice", site.serve())
    assert await pages.event("alice", "echo") == [["welcome", None]]


async def authenticate(handshake: Handshake) -> str:
    assert isinstance(handshake, SocketIOHandshake)
    token = (handshake.auth or {}).get("token")
    token = token or handshake.cookies.get("token") or handshake.headers.get("X-Token")
    if token != "swordfish":
        raise Refused(401, "Please log in")
    return "alice"


@pytest.mark.parametrize("transport", [POLLING, WEBSOCKET], ids=["polling", "websocket"])
async def test_who_connects_is_known_by_auth_cookie_or_header(
    site: Site, pages: Pages, transport: Any
) -> None:
    url = site.serve(authenticate)
    for name, options in {
        "auth": {"auth": {"token": "swordfish"}},
        "cookie": {"auth": {}, "extraHeaders": {"Cookie": "token=swordfish"}},
        "header": {"auth": {}, "extraHeaders": {"X-Token": "swordfish"}},
    }.items():
        await pages.open(name, url, **transport, **options)
        response = await pages.rpc(name, "calculator", "identity")
        assert response == {"type": "response", "data": "alice"}


@pytest.mark.parametrize("transport", [POLLING, WEBSOCKET], ids=["polling", "websocket"])
async def test_who_is_not_known_is_refused_and_told_why(
    site: Site, pages: Pages, transport: Any
) -> None:
    options = {"auth": {"token": "perch"}, **transport}
    await pages.do("open", "mallory", site.serve(authenticate), options)
    assert await pages.event("mallory", "connect_error") == ["Please log in", {"status": 401}]
    assert site.echo.clients == []


@pytest.mark.parametrize("transport", [POLLING, WEBSOCKET], ids=["polling", "websocket"])
async def test_a_failing_authentication_lets_nobody_in(
    site: Site, pages: Pages, transport: Any, expect_log: Any
) -> None:
    def fail(handshake: Handshake) -> None:
        raise KeyError("the session store")

    await pages.do("open", "alice", site.serve(fail), transport)
    assert await pages.event("alice", "connect_error") == ["Internal error", {"status": 500}]
    expect_log("Unhandled exception while authenticating 127.0.0.1")


@pytest.mark.usefixtures("refused_pages")
@pytest.mark.parametrize("transport", [POLLING, WEBSOCKET], ids=["polling", "websocket"])
async def test_pages_of_foreign_origins_are_refused(
    site: Site, pages: Pages, transport: Any, expect_log: Any
) -> None:
    url = site.serve(allowed_origins=["https://friend.example"])
    for name, origin in {"mallory": "https://evil.example", "null": "null"}.items():
        options = {"extraHeaders": {"Origin": origin}, "reconnection": False, **transport}
        await pages.do("open", name, url, options)
        await pages.event(name, "connect_error")
    for name, origin in {"bob": "https://friend.example", "alice": "http://127.0.0.1:8000"}.items():
        await pages.open(name, url, extraHeaders={"Origin": origin}, **transport)
    assert len(site.echo.clients) == 2
    assert expect_log.all("403 GET /socket.io/") == 2


@pytest.mark.parametrize("transport", [POLLING, WEBSOCKET], ids=["polling", "websocket"])
async def test_services_are_told_who_comes_and_who_goes(
    site: Site, pages: Pages, transport: Any
) -> None:
    await pages.open("alice", site.serve(), **transport)
    (client,) = site.echo.clients
    assert isinstance(client, SocketIOClient)
    assert client.remote_address == "127.0.0.1"
    assert site.registry.clients == {client}
    await pages.do("close", "alice")
    async with asyncio.timeout(patient(5)):
        assert await site.echo.left.get() is client
    assert site.registry.clients == set()
    assert not client.connected
    client.send({"service": "echo", "message": "too late"})


async def test_a_page_that_was_cut_off_comes_back_by_itself(site: Site, pages: Pages) -> None:
    await pages.open("alice", site.serve(), reconnectionDelay=10)
    await pages.do("drop", "alice")
    assert await pages.event("alice", "disconnect") == ["forced close"]
    async with asyncio.timeout(patient(5)):
        await site.echo.left.get()


async def test_a_client_closed_for_good_stays_away_and_others_come_back(
    site: Site, pages: Pages
) -> None:
    await pages.open("alice", site.serve(), reconnectionDelay=10)
    call = {"command": "leave", "params": {"code": 3000}}
    await pages.emit("alice", "calculator", call)
    await pages.event("alice", "disconnect")
    await pages.event("alice", "connect")
    call["params"] = {"code": 1000}
    await pages.emit("alice", "calculator", call)
    assert await pages.event("alice", "disconnect") == ["io server disconnect"]
    assert len(site.echo.clients) == 2
    await until(lambda: site.echo.left.qsize() == 2)


@pytest.mark.parametrize("transport", [POLLING, WEBSOCKET], ids=["polling", "websocket"])
async def test_bytes_reach_services_and_come_back(site: Site, pages: Pages, transport: Any) -> None:
    await pages.open("alice", site.serve(), **transport)
    message = {"name": "picture", "bytes": [b"\x00\xff", b""]}
    await pages.emit("alice", "echo", message)
    assert await pages.event("alice", "echo") == [message]


async def test_bytes_are_broadcast_to_both_transports(site: Site, pages: Pages) -> None:
    url = site.serve()
    await pages.open("alice", url, **POLLING)
    await pages.open("bob", url, **WEBSOCKET)
    for clients in (site.echo.clients, site.echo.clients[::-1]):
        site.echo.broadcast(clients, b"\x00\xff")
        for name in ("alice", "bob"):
            assert await pages.event(name, "echo") == [b"\x00\xff"]


async def test_namespaces_have_registries_of_their_own(site: Site, pages: Pages) -> None:
    admin = Echo("admin")
    registry = ServiceRegistry([admin], authenticate=authenticate)
    await pages.open("alice", site.serve(namespaces={"/admin": registry}))
    await pages.do("share", "root", "alice", "/admin", {"auth": {"token": "swordfish"}})
    await pages.event("root", "connect")
    await pages.emit("root", "admin", "in")
    assert await pages.event("root", "admin") == ["in"]
    assert [client.identity for client in admin.clients] == ["alice"]
    assert [client.identity for client in site.echo.clients] == [None]

    await pages.do("close", "root")
    async with asyncio.timeout(patient(5)):
        await admin.left.get()
    await pages.emit("alice", "echo", "still here")
    assert await pages.event("alice", "echo") == ["still here"]


async def test_a_namespace_that_nobody_serves_is_refused(site: Site, pages: Pages) -> None:
    await pages.do("open", "alice", site.serve() + "/nowhere", {})
    assert await pages.event("alice", "connect_error") == ["Invalid namespace", None]


async def test_polling_gives_way_to_websocket_and_nothing_is_lost(site: Site, pages: Pages) -> None:
    await pages.open("alice", site.serve())
    await pages.rpc("alice", "pubsub", "subscribe", channel="news")
    pubsub = site.registry.registered_services["pubsub"]
    numbers = 0
    upgraded = asyncio.create_task(pages.event("alice", "upgrade"))
    while not upgraded.done():
        pubsub.do_publish("news", numbers)
        numbers += 1
        await asyncio.sleep(0.001)
    assert upgraded.result() == ["websocket"]
    pubsub.do_publish("news", "end")
    received = [(await pages.event("alice", "pubsub"))[0]["message"] for _ in range(numbers + 1)]
    assert received == [*range(numbers), "end"]


async def test_where_websocket_is_kept_out_polling_serves_alone(site: Site, pages: Pages) -> None:
    await pages.open("alice", site.serve(), **POLLING)
    assert await pages.do("transport", "alice") == "polling"
    for number in range(20):
        await pages.emit("alice", "echo", number)
    assert [(await pages.event("alice", "echo"))[0] for _ in range(20)] == list(range(20))
