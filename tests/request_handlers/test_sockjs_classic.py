"""What programs of the first release rely on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from snorky import ServiceRegistry
from snorky.client import Client
from snorky.request_handlers.sockjs import ConnectionInfo, SnorkySockJSHandler, SockJSClient
from snorky.services.base import Service
from tests.lines import until
from tests.request_handlers.sockjs_site import SockJSSite
from tests.request_handlers.websocket_site import Echo


@pytest.fixture
async def site(listen: Any) -> AsyncIterator[SockJSSite]:
    site = SockJSSite(listen)
    yield site
    await site.http.aclose()


def envelope(message: Any, service: str = "echo") -> str:
    return json.dumps({"service": service, "message": message})


def messages(frame: str) -> list[Any]:
    return [json.loads(text)["message"] for text in json.loads(frame[1:])]


def test_the_routes_are_a_list() -> None:
    registry = ServiceRegistry()
    routes = SnorkySockJSHandler.get_routes(service_registry=registry, path="/sockjs")
    assert type(routes) is list  # programs add their own to it
    assert all(pattern.startswith("/sockjs") for pattern, *_ in routes)


@pytest.mark.parametrize(("path", "base"), [("", ""), ("/", ""), ("/a/b/", "/a/b")])
async def test_services_at_any_path(site: SockJSSite, path: str, base: str) -> None:
    site.serve(*SnorkySockJSHandler.get_routes(ServiceRegistry([Echo()]), path))

    assert (await site.get(base + "/")).text == "Welcome to SockJS!\n"
    assert (await site.get(base + "/info")).status_code == 200
    session = await site.open_session(base)
    await site.send(session, envelope({"any": ["JSON"]}))
    assert messages(await site.poll(session)) == [{"any": ["JSON"]}]


async def test_one_registry_serves_several_paths(site: SockJSSite) -> None:
    echo = Echo()
    registry = ServiceRegistry([echo])
    site.serve(
        *SnorkySockJSHandler.get_routes(registry, "/one"),
        *SnorkySockJSHandler.get_routes(registry, "/two"),
    )
    assert await site.poll("/one/a/same") == "o\n"
    assert await site.poll("/two/a/same") == "o\n"
    assert len(registry.clients) == 2


class Greeter(SnorkySockJSHandler):
    """Uses all that subclasses were given."""

    opened: list[Any] = []

    def on_open(self, info: ConnectionInfo) -> bool | None:
        self.opened.append(info)
        self.client.identity = info.cookies["name"].value if "name" in info.cookies else None
        super().on_open(info)
        self.send("as it is")
        self.send({"a": 1})
        return None

    def on_message(self, message: str) -> None:
        if message == "bye":
            self.close()
        else:
            super().on_message(message)

    def on_close(self) -> None:
        self.opened.append("closed")
        super().on_close()


@pytest.fixture
def greeter() -> type[Greeter]:
    class Fresh(Greeter):
        opened: list[Any] = []

    return Fresh


async def test_a_subclass_sees_who_comes_and_speaks(
    site: SockJSSite, greeter: type[Greeter]
) -> None:
    echo = Echo()
    registry = ServiceRegistry([echo])
    site.serve(*greeter.get_routes(registry, "/sockjs"))
    session = "/sockjs/000/s"
    assert (await site.post(session + "/xhr?a=1", Cookie="name=alice", X_Any="2")).text == "o\n"

    info = greeter.opened[0]
    assert info.ip == "127.0.0.1"
    assert info.cookies["name"].value == "alice"
    assert info.arguments == {"a": [b"1"]}
    assert info.headers["x-any"] == "2"
    client = echo.clients[0]
    assert type(client) is SockJSClient
    assert (client.identity, client.remote_address) == ("alice", "127.0.0.1")
    assert await site.poll(session) == 'a["as it is","{\\"a\\":1}"]\n'
    await site.send(session, envelope(1), "bye", envelope(2))
    assert messages(await site.poll(session)) == [1]
    assert await site.poll(session) == 'c[3000,"Go away!"]\n'
    await until(lambda: greeter.opened[1:] == ["closed"])
    assert registry.clients == set()


@pytest.mark.parametrize("path", ["000/s/websocket", "websocket", "000/s/xhr"])
async def test_a_subclass_has_its_registry_its_client_and_its_session(
    site: SockJSSite, path: str
) -> None:
    opened: list[Any] = []

    class Own(SnorkySockJSHandler):
        def on_open(self, info: ConnectionInfo) -> None:
            opened.append((self.service_registry, type(self.client)))
            self.session.send(b"by the session")

    registry = ServiceRegistry()
    site.serve(*Own.get_routes(registry, "/sockjs"))
    if path.endswith("xhr"):
        assert (await site.post("/sockjs/" + path)).text == "o\n"
        assert (await site.post("/sockjs/" + path)).text == 'a["by the session"]\n'
    else:
        async with site.connect("/sockjs/" + path) as socket:
            if path != "websocket":
                assert await socket.recv() == "o"
            assert "by the session" in await socket.recv()
    assert opened == [(registry, SockJSClient)]


@pytest.mark.parametrize("path", ["000/s/websocket", "websocket"])
async def test_a_subclass_is_the_same_over_websocket(
    site: SockJSSite, greeter: type[Greeter], path: str
) -> None:
    registry = ServiceRegistry([Echo()])
    site.serve(*greeter.get_routes(registry, "/sockjs"))
    async with site.connect(
        f"/sockjs/{path}?a=1", additional_headers={"Cookie": "name=alice"}
    ) as socket:
        if path == "websocket":
            assert await socket.recv() == "as it is"
            assert await socket.recv() == '{"a":1}'
            await socket.send("bye")
        else:
            assert await socket.recv() == "o"
            assert await socket.recv() == 'a["as it is","{\\"a\\":1}"]'
            await socket.send('["bye"]')
            assert await socket.recv() == 'c[3000,"Go away!"]'
        await socket.wait_closed()
    assert greeter.opened[0].arguments == {"a": [b"1"]}
    await until(lambda: greeter.opened[1:] == ["closed"])


@pytest.mark.parametrize(
    ("code", "received"), [(4001, 4001), (2010, 1000)], ids=["possible", "unknown to WebSocket"]
)
async def test_any_code_closes_a_raw_websocket(site: SockJSSite, code: int, received: int) -> None:
    class Closing(SnorkySockJSHandler):
        def on_open(self, info: ConnectionInfo) -> None:
            self.close(code, "enough")

    site.serve(*Closing.get_routes(ServiceRegistry(), "/sockjs"))
    async with site.connect("/sockjs/websocket") as socket:
        await socket.wait_closed()
    assert (socket.close_code, socket.close_reason) == (received, "enough")


@pytest.mark.parametrize("told", [False, True])
async def test_who_is_refused_is_nobody_s_client(site: SockJSSite, told: bool) -> None:
    """Also where the services had been told of it before."""
    ended = []

    class Refusing(SnorkySockJSHandler):
        def on_open(self, info: ConnectionInfo) -> bool:
            if told:
                super().on_open(info)
            return False

        def on_close(self) -> None:
            ended.append(self)
            super().on_close()

    class Strict(Service):
        def __init__(self) -> None:
            super().__init__("strict")
            self.clients: set[Client] = set()

        def client_connected(self, client: Client) -> None:
            self.clients.add(client)

        def client_disconnected(self, client: Client) -> None:
            self.clients.remove(client)

    strict = Strict()
    registry = ServiceRegistry([strict])
    site.serve(*Refusing.get_routes(registry, "/sockjs"))
    session = await site.open_session("/sockjs")
    assert await site.poll(session) == 'c[3000,"Go away!"]\n'
    assert len(ended) == int(told)
    assert registry.clients == strict.clients == set()


async def test_text_that_is_no_envelope_costs_nobody_the_connection(
    site: SockJSSite, expect_log: Any
) -> None:
    site.serve(*SnorkySockJSHandler.get_routes(ServiceRegistry([Echo()]), "/sockjs"))
    session = await site.open_session("/sockjs")
    await site.send(session, "no JSON", "[]", envelope(1, "nobody"), envelope(2))

    assert messages(await site.poll(session)) == [2]
    expect_log("Invalid JSON from client 127.0.0.1: no JSON")
    expect_log("Malformed message from client 127.0.0.1: []")
    expect_log('Message for non existing service "nobody" from client 127.0.0.1')


async def test_broken_requests_do_not_fill_the_log(site: SockJSSite, expect_log: Any) -> None:
    site.serve(*SnorkySockJSHandler.get_routes(ServiceRegistry([Echo()]), "/sockjs"))
    session = await site.open_session("/sockjs")
    for _ in range(120):
        assert (await site.post(session + "/xhr_send", "[")).status_code == 500

    assert expect_log.all("Broken JSON encoding.") == 100
    expect_log("Further lines about client 127.0.0.1 are not logged")
