"""The WebSocket handler as programs use it: routes, messages in, messages out."""

import asyncio
import json
from typing import Any

import pytest
from tornado.websocket import WebSocketHandler

from snorky import ServiceRegistry
from snorky.client import Client
from snorky.limits import Limits
from snorky.request_handlers.websocket import SnorkyWebSocketHandler, WebSocketClient
from snorky.services.base import Service
from snorky.services.pubsub import PubSubService
from tests.patience import patient
from tests.request_handlers.websocket_site import DEADLINE, Echo, Site, closed, received, said


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def registry(echo: Echo) -> ServiceRegistry:
    return ServiceRegistry([echo])


# Routes


def test_a_route_is_a_tuple_that_may_be_written_by_hand(registry: ServiceRegistry) -> None:
    class Own(SnorkyWebSocketHandler):
        pass

    options = {"service_registry": registry}
    route = SnorkyWebSocketHandler.get_route
    assert route(registry) == ("/", SnorkyWebSocketHandler, options)
    assert route(registry, "/ws") == ("/ws", SnorkyWebSocketHandler, options)
    assert route(service_registry=registry, path="/ws", ping_pong_interval=5, more=1) == (
        "/ws",
        SnorkyWebSocketHandler,
        {**options, "ping_pong_interval": 5, "more": 1},
    )
    assert Own.get_route(registry)[1] is Own
    assert issubclass(SnorkyWebSocketHandler, WebSocketHandler)


async def test_a_route_of_either_kind_serves_the_registry(
    site: Site, registry: ServiceRegistry
) -> None:
    site.serve(
        SnorkyWebSocketHandler.get_route(registry),
        (r"/by/hand", SnorkyWebSocketHandler, {"service_registry": registry}),
        (
            r"/quiet",
            SnorkyWebSocketHandler,
            {"service_registry": registry, "ping_pong_interval": 0},
        ),
        SnorkyWebSocketHandler.get_route(registry, "/none", ping_pong_interval=None),
    )

    for path in ("/", "/by/hand", "/quiet", "/none"):
        async with site.connect(path) as socket:
            assert await said(socket, ["größer", None]) == ["größer", None]


@pytest.mark.usefixtures("each_fanout")
async def test_several_handlers_may_share_a_registry_and_several_registries_a_process(
    site: Site,
) -> None:
    shared, private = PubSubService("pubsub"), PubSubService("pubsub")
    frontend, backend = ServiceRegistry([shared]), ServiceRegistry([private])
    site.serve(
        SnorkyWebSocketHandler.get_route(frontend, "/one"),
        SnorkyWebSocketHandler.get_route(frontend, "/two"),
        SnorkyWebSocketHandler.get_route(backend, "/private"),
    )
    call = {"command": "subscribe", "params": {"channel": "news"}, "callId": 0}
    async with (
        site.connect("/one") as one,
        site.connect("/two") as two,
        site.connect("/private") as three,
    ):
        for socket in (one, two, three):
            await socket.send(json.dumps({"service": "pubsub", "message": call}))
            assert (await received(socket))["message"]["type"] == "response"
        private.do_publish("news", "private")
        shared.do_publish("news", "public")

        published = [(await received(socket))["message"]["message"] for socket in (one, two, three)]
    assert published == ["public", "public", "private"]


async def test_options_reach_the_handlers_constructor(
    site: Site, registry: ServiceRegistry
) -> None:
    made: list[Any] = []

    class Own(SnorkyWebSocketHandler):
        def __init__(self, *args: Any, colour: str, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append((colour, self.ping_pong_interval, self.service_registry))

    class Initialized(SnorkyWebSocketHandler):
        def initialize(self, colour: str) -> None:
            made.append((colour, self.ping_pong_interval, self.service_registry))

    site.serve(
        Own.get_route(registry, "/own", colour="red", ping_pong_interval=7),
        Initialized.get_route(registry, "/initialized", colour="blue"),
    )
    for path in ("/own", "/initialized"):
        async with site.connect(path) as socket:
            assert await said(socket, 1) == 1

    assert made == [("red", 7, registry), ("blue", 90, registry)]


# Messages of every kind


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("hello", "Invalid JSON from client 127.0.0.1: hello"),
        (b'"\xff"', "Invalid JSON from client 127.0.0.1"),
        ("[" * 5000, "Invalid JSON from client 127.0.0.1"),
        ("[" * 900 + "]" * 900, "Malformed message from client 127.0.0.1"),
        ("{}", "Malformed message from client 127.0.0.1: {}"),
        ("[1]", "Malformed message from client 127.0.0.1: [1]"),
        ("null", "Malformed message from client 127.0.0.1: None"),
        ('{"service": "no", "message": 1}', 'Message for non existing service "no" from client'),
    ],
)
async def test_what_is_no_message_costs_nobody_the_connection(
    site: Site, registry: ServiceRegistry, text: Any, warning: str, expect_log: Any
) -> None:
    site.serve(SnorkyWebSocketHandler.get_route(registry))
    async with site.connect() as socket:
        await socket.send(text)
        assert await said(socket, "still here") == "still here"

    assert expect_log(warning).name == "snorky"


async def test_a_message_may_come_as_binary(site: Site, registry: ServiceRegistry) -> None:
    site.serve(SnorkyWebSocketHandler.get_route(registry))
    async with site.connect() as socket:
        await socket.send('{"service": "echo", "message": "größer"}'.encode())

        assert (await received(socket))["message"] == "größer"


async def test_a_client_has_an_address_and_no_identity(
    site: Site, registry: ServiceRegistry, echo: Echo
) -> None:
    site.serve(SnorkyWebSocketHandler.get_route(registry))
    async with site.connect() as socket:
        await said(socket, 1)
        (client,) = echo.clients
        assert isinstance(client, WebSocketClient)
        assert (client.remote_address, client.identity, client.connected) == (
            "127.0.0.1",
            None,
            True,
        )
        assert registry.clients == {client}

    async with asyncio.timeout(DEADLINE):
        assert await echo.left.get() is client
    assert not client.connected
    assert registry.clients == set()


# Sending


async def test_a_message_is_what_it_was_when_it_was_sent(
    site: Site, registry: ServiceRegistry, echo: Echo
) -> None:
    site.serve(SnorkyWebSocketHandler.get_route(registry))
    async with site.connect() as socket:
        await said(socket, 1)
        (client,) = echo.clients
        message = {"a": [1]}
        client.send(message)
        message["a"].append(2)
        with pytest.raises(TypeError):
            client.send({"a": object()})
        client.send((None, True))

        assert [await received(socket) for _ in range(2)] == [{"a": [1]}, [None, True]]


async def test_sending_to_a_client_that_has_gone_does_nothing(
    site: Site, registry: ServiceRegistry, echo: Echo
) -> None:
    site.serve(SnorkyWebSocketHandler.get_route(registry))
    async with site.connect() as socket:
        await said(socket, 1)
    async with asyncio.timeout(DEADLINE):
        client = await echo.left.get()

    client.send("late")
    client.close()
    with pytest.raises(TypeError):
        client.send(object())
    assert client.unsent_bytes == 0


class Crowd(Service):
    """The manual's minimal pub/sub."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.clients: set[Client] = set()

    def client_connected(self, client: Client) -> None:
        self.clients.add(client)

    def client_disconnected(self, client: Client) -> None:
        self.clients.remove(client)

    def process_message_from(self, client: Client, msg: Any) -> None:
        for other in self.clients:
            if msg == "close all":
                other.close(4000, "closing time")
            self.send_message_to(other, msg)


async def test_services_loop_over_their_own_live_set_while_sending(site: Site) -> None:
    crowd = Crowd("crowd")
    site.serve(SnorkyWebSocketHandler.get_route(ServiceRegistry([crowd])))
    async with site.connect() as alice, site.connect() as bob, site.connect() as gone:
        for text in ("hello", "close all"):
            if text == "close all":
                gone.transport.abort()
            await alice.send(json.dumps({"service": "crowd", "message": text}))
            if text == "hello":
                for socket in (alice, bob, gone):
                    assert (await received(socket))["message"] == "hello"
        for socket in (alice, bob):
            assert await closed(socket) == (4000, "closing time")
    async with asyncio.timeout(DEADLINE):
        while crowd.clients:
            await asyncio.sleep(0.005)


async def test_who_is_cut_off_while_a_service_sends_leaves_the_set_later(site: Site) -> None:
    crowd = Crowd("crowd")
    registry = ServiceRegistry([crowd], limits=Limits(max_unsent_bytes=100_000))
    site.serve(SnorkyWebSocketHandler.get_route(registry))
    text = json.dumps({"service": "crowd", "message": "x" * 50_000})
    async with site.connect() as alice, site.connect(max_queue=1) as deaf:
        await alice.send('{"service": "crowd", "message": "hello"}')
        await received(alice)
        assert len(crowd.clients) == 2
        async with asyncio.timeout(patient(20)):
            while len(crowd.clients) == 2:
                await alice.send(text)
                await received(alice)
        deaf.transport.abort()
    async with asyncio.timeout(DEADLINE):
        while crowd.clients:
            await asyncio.sleep(0.005)


async def test_a_service_may_greet_who_connects(site: Site) -> None:
    registry = ServiceRegistry([Echo(greeting="hello")])
    site.serve(SnorkyWebSocketHandler.get_route(registry))
    async with site.connect() as socket:
        assert (await received(socket))["message"] == ["hello", None]
