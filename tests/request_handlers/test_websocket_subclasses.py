"""Subclasses of the WebSocket handler: what they may override, see and call."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
import websockets
from tornado.websocket import WebSocketClosedError

from snorky import ServiceRegistry
from snorky.request_handlers.websocket import SnorkyWebSocketHandler, WebSocketClient
from snorky.services.base import Service
from tests.request_handlers.websocket_site import DEADLINE, Echo, Site, closed, received, said


@pytest.fixture
async def site(listen: Callable[..., int]) -> Site:
    return Site(listen)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def registry(echo: Echo) -> ServiceRegistry:
    return ServiceRegistry([echo])


class Who(Service):
    def process_message_from(self, client: Any, msg: Any) -> None:
        self.send_message_to(client, client.identity)


class Recorded(SnorkyWebSocketHandler):
    """Overrides everything, calls super, and tells the test."""

    events: asyncio.Queue[Any]

    def open(self, *args: str, **kwargs: str) -> None:
        self.events.put_nowait(("open", args, kwargs))
        self.client.identity = self.get_argument("name", None)
        super().open(*args, **kwargs)

    def on_message(self, message: str | bytes) -> None:
        self.events.put_nowait(("message", message))
        super().on_message(message)

    def on_close(self) -> None:
        self.events.put_nowait(("close", self.close_code, self.close_reason))
        super().on_close()


@pytest.fixture
def events() -> asyncio.Queue[Any]:
    return asyncio.Queue()


@pytest.fixture
def recorded(events: asyncio.Queue[Any]) -> type[Recorded]:
    return type("Recorded", (Recorded,), {"events": events})


async def test_a_subclass_hears_of_everything_and_may_say_who_the_client_is(
    site: Site, recorded: type[Recorded], events: asyncio.Queue[Any]
) -> None:
    echo = Echo(greeting="hello")
    site.serve(recorded.get_route(ServiceRegistry([echo]), r"/ws/(\w+)"))
    async with site.connect("/ws/blue?name=alice") as socket:
        assert (await received(socket))["message"] == ["hello", "alice"]
        text = '{"service": "echo", "message": "größer"}'
        await socket.send(text)
        assert (await received(socket))["message"] == "größer"
        await socket.close(4001, "bye")

    async with asyncio.timeout(DEADLINE):
        assert [await events.get() for _ in range(3)] == [
            ("open", ("blue",), {}),
            ("message", text),
            ("close", 4001, "bye"),
        ]
        assert await echo.left.get() is echo.clients[0]


async def test_named_groups_of_the_route_are_named_arguments_of_open(
    site: Site, recorded: type[Recorded], events: asyncio.Queue[Any], registry: ServiceRegistry
) -> None:
    site.serve(recorded.get_route(registry, r"/(?P<room>\w+)/(?P<seat>\d+)"))
    async with site.connect("/kitchen/7") as socket:
        await said(socket, 1)

    assert events.get_nowait() == ("open", (), {"room": "kitchen", "seat": "7"})


async def test_the_client_knows_its_handler_and_the_handler_its_client(
    site: Site, recorded: type[Recorded], registry: ServiceRegistry, echo: Echo
) -> None:
    site.serve(recorded.get_route(registry, "/ws"))
    async with site.connect("/ws?name=alice", additional_headers={"X-Colour": "blue"}) as socket:
        await said(socket, 1)
        (client,) = echo.clients
        assert isinstance(client, WebSocketClient)
        handler = client.req_handler
        assert type(handler) is recorded
        assert handler.client is client
        assert handler.service_registry is registry
        assert handler.ping_pong_interval == 90
        assert handler.request.path == "/ws"
        assert handler.request.headers["X-Colour"] == "blue"
        assert handler.get_argument("name") == "alice"


async def test_services_find_the_plain_handler_while_they_are_told_of_its_client(
    site: Site,
) -> None:
    class Cookies(Echo):
        def client_connected(self, client: Any) -> None:
            handler = client.req_handler
            client.identity = [type(handler) is SnorkyWebSocketHandler, handler.get_cookie("user")]

    site.serve(SnorkyWebSocketHandler.get_route(ServiceRegistry([Cookies(), Who("who")]), "/ws"))
    async with site.connect("/ws", additional_headers={"Cookie": "user=alice"}) as socket:
        await socket.send('{"service": "who", "message": null}')
        assert (await received(socket))["message"] == [True, "alice"]


async def test_open_may_be_a_coroutine_and_holds_messages_back(
    site: Site, registry: ServiceRegistry
) -> None:
    opened = asyncio.Event()
    order: list[str] = []

    class Slow(SnorkyWebSocketHandler):
        async def open(self, *args: str, **kwargs: str) -> None:
            await opened.wait()
            self.client.identity = "alice"
            order.append("open")
            super().open()

        async def on_message(self, message: str | bytes) -> None:
            await asyncio.sleep(0)
            order.append(json.loads(message)["message"])
            super().on_message(message)

    site.serve(Slow.get_route(registry))
    async with site.connect() as socket:
        for number in range(3):
            await socket.send(json.dumps({"service": "echo", "message": number}))
        opened.set()
        assert [(await received(socket))["message"] for _ in range(3)] == [0, 1, 2]

    assert order == ["open", 0, 1, 2]


async def test_a_subclass_may_keep_messages_from_the_services(
    site: Site, registry: ServiceRegistry
) -> None:
    class Filter(SnorkyWebSocketHandler):
        def on_message(self, message: str | bytes) -> None:
            if message == "time":  # no JSON: a service would have been warned about
                self.write_message("noon")
            else:
                super().on_message(message)

    site.serve(Filter.get_route(registry))
    async with site.connect() as socket:
        await socket.send("time")
        assert await socket.recv() == "noon"
        assert await said(socket, 1) == 1


async def test_a_subclass_writes_what_it_likes(site: Site, registry: ServiceRegistry) -> None:
    class Writer(SnorkyWebSocketHandler):
        def open(self, *args: str, **kwargs: str) -> None:
            super().open()
            self.write_message("größer")
            self.write_message({"a": [1]})
            self.write_message(b"\x00\xff", binary=True)
            self.write_message("größer".encode())

        async def on_message(self, message: str | bytes) -> None:
            await self.write_message(message)

    site.serve(Writer.get_route(registry))
    async with site.connect() as socket:
        assert [await socket.recv() for _ in range(4)] == [
            "größer",
            '{"a": [1]}',
            b"\x00\xff",
            "größer",
        ]
        await socket.send("back")
        assert await socket.recv() == "back"


async def test_writing_to_a_connection_that_ended_raises(
    site: Site, recorded: type[Recorded], registry: ServiceRegistry, echo: Echo
) -> None:
    site.serve(recorded.get_route(registry))
    async with site.connect() as socket:
        await said(socket, 1)
        handler = echo.clients[0].req_handler  # type: ignore[attr-defined]
        handler.close(4002, "enough")
        with pytest.raises(WebSocketClosedError):
            handler.write_message("too late")
        assert await closed(socket) == (4002, "enough")
    async with asyncio.timeout(DEADLINE):
        await echo.left.get()
    handler.close()
    with pytest.raises(WebSocketClosedError):
        handler.write_message("much too late")


async def test_a_subclass_may_close_in_open(
    site: Site, events: asyncio.Queue[Any], recorded: type[Recorded], registry: ServiceRegistry
) -> None:
    class Doorkeeper(recorded):  # type: ignore[misc, valid-type]
        def open(self, *args: str, **kwargs: str) -> None:
            if self.get_argument("name", None) != "alice":
                self.close(4003, "not you")
                return
            super().open()

    site.serve(Doorkeeper.get_route(registry))
    async with site.connect("/?name=bob") as socket:
        assert await closed(socket) == (4003, "not you")
    async with asyncio.timeout(DEADLINE):
        assert (await events.get())[0] == "close"
    async with site.connect("/?name=alice") as socket:
        assert await said(socket, 1) == 1


async def test_the_services_hear_of_a_client_that_leaves_exactly_once(
    site: Site, recorded: type[Recorded], registry: ServiceRegistry, echo: Echo
) -> None:
    site.serve(recorded.get_route(registry), SnorkyWebSocketHandler.get_route(registry, "/plain"))
    for path in ("/", "/plain"):
        for leave in ("close", "abort"):
            async with site.connect(path) as socket:
                await said(socket, 1)
                if leave == "abort":
                    socket.transport.abort()
            async with asyncio.timeout(DEADLINE):
                assert await echo.left.get() is echo.clients[-1]
    assert echo.left.empty()


async def test_who_hangs_up_without_a_word_has_no_close_code(
    site: Site, recorded: type[Recorded], events: asyncio.Queue[Any], registry: ServiceRegistry
) -> None:
    site.serve(recorded.get_route(registry))
    async with site.connect() as socket:
        await said(socket, 1)
        socket.transport.abort()

    async with asyncio.timeout(DEADLINE):
        while (event := await events.get())[0] != "close":
            pass
    assert event == ("close", None, None)


@pytest.mark.parametrize("where", ["open", "on_message"])
async def test_an_exception_in_a_subclass_ends_its_own_connection_alone(
    site: Site, registry: ServiceRegistry, where: str, expect_log: Any
) -> None:
    def fail(self: Any, *args: Any) -> None:
        raise ZeroDivisionError("out of order")

    faulty: Any = type("Faulty", (SnorkyWebSocketHandler,), {where: fail})
    site.serve(faulty.get_route(registry), SnorkyWebSocketHandler.get_route(registry, "/plain"))
    async with site.connect("/plain") as plain:
        async with site.connect() as socket:
            if where == "on_message":
                await socket.send("anything")
            assert (await closed(socket))[0] == 1011
        assert await said(plain, 1) == 1

    record = expect_log("Unhandled exception", level=logging.ERROR)
    assert "out of order" in str(record.exc_info[1])


async def test_an_exception_in_on_close_is_logged(
    site: Site, registry: ServiceRegistry, expect_log: Any
) -> None:
    ended = asyncio.Event()

    class Faulty(SnorkyWebSocketHandler):
        def on_close(self) -> None:
            ended.set()
            raise ZeroDivisionError("out of order")

    site.serve(Faulty.get_route(registry))
    async with site.connect() as socket:
        await said(socket, 1)
    async with asyncio.timeout(DEADLINE):
        await ended.wait()

    expect_log("Unhandled exception", level=logging.ERROR)


# Cookies and the rest of Tornado's handler


async def test_cookies_of_the_web_application_are_read(
    site: Site, registry: ServiceRegistry
) -> None:
    class Cookies(SnorkyWebSocketHandler):
        def get_current_user(self) -> Any:
            return self.get_cookie("user")

        def open(self, *args: str, **kwargs: str) -> None:
            self.client.identity = self.current_user
            self.write_message({"cookie": self.get_cookie("user"), "signed": str(self.signed())})
            super().open()

        def signed(self) -> Any:
            return self.get_signed_cookie("session")

    site.serve(Cookies.get_route(registry), cookie_secret="secret")
    async with site.connect(additional_headers={"Cookie": "user=alice; session=forged"}) as socket:
        assert await received(socket) == {"cookie": "alice", "signed": "None"}


async def test_headers_and_cookies_set_before_the_handshake_go_with_it(
    site: Site, registry: ServiceRegistry
) -> None:
    class Setting(SnorkyWebSocketHandler):
        def set_default_headers(self) -> None:
            self.set_header("X-Colour", "blue")

        def prepare(self) -> None:
            self.set_cookie("seen", "yes")

    site.serve(Setting.get_route(registry))
    async with site.connect() as socket:
        assert socket.response.headers["X-Colour"] == "blue"
        assert "seen=yes" in socket.response.headers["Set-Cookie"]
        assert await said(socket, 1) == 1


async def test_prepare_may_refuse(
    site: Site, registry: ServiceRegistry, echo: Echo, expect_log: Any
) -> None:
    class Closed(SnorkyWebSocketHandler):
        def prepare(self) -> None:
            self.send_error(503)

    site.serve(Closed.get_route(registry))
    with pytest.raises(websockets.InvalidStatus) as refused:
        await site.connect()

    assert refused.value.response.status_code == 503
    assert echo.clients == []
    expect_log("503 GET /")


async def test_a_subclass_chooses_the_subprotocol(site: Site, registry: ServiceRegistry) -> None:
    class Choosing(SnorkyWebSocketHandler):
        def select_subprotocol(self, subprotocols: list[str]) -> str | None:
            return next((name for name in subprotocols if name.startswith("v2")), None)

        def open(self, *args: str, **kwargs: str) -> None:
            super().open()
            self.write_message({"selected": self.selected_subprotocol})

    site.serve(Choosing.get_route(registry))
    async with site.connect(subprotocols=["v1.app", "v2.app"]) as socket:
        assert socket.subprotocol == "v2.app"
        assert await received(socket) == {"selected": "v2.app"}


async def test_a_subclass_pings_and_hears_the_answer(site: Site, registry: ServiceRegistry) -> None:
    ponged: asyncio.Queue[bytes] = asyncio.Queue()

    class Pinging(SnorkyWebSocketHandler):
        def open(self, *args: str, **kwargs: str) -> None:
            super().open()
            self.ping(b"are you there")

        def on_pong(self, data: bytes) -> None:
            ponged.put_nowait(data)

        def on_ping(self, data: bytes) -> None:
            ponged.put_nowait(b"asked " + data)

    site.serve(Pinging.get_route(registry))
    async with site.connect() as socket:
        await (await socket.ping(b"and you"))
        async with asyncio.timeout(DEADLINE):
            assert {await ponged.get() for _ in range(2)} == {b"are you there", b"asked and you"}
