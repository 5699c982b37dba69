"""Scopes of every kind: of mounts, of other applications, of servers that say little."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from snorky import ServiceRegistry
from snorky.asgi import SnorkyASGI
from snorky.asgi.scopes import Headers, handshake_of, path_in
from snorky.identity import Handshake, Refused
from snorky.services.base import Service
from snorky.services.pubsub import PubSubService
from tests.patience import patient
from tests.request_handlers.websocket_site import Echo


class Exchange:
    """A server that says what a test tells it, and keeps what it is told."""

    def __init__(self, *events: Any) -> None:
        self.events = list(events)
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        if not self.events:
            await asyncio.Event().wait()
        return self.events.pop(0)

    async def send(self, message: Any) -> None:
        self.sent.append(message)


CONNECT, DISCONNECT = {"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006}


async def told(app: Any, scope: Any, *events: Any) -> list[Any]:
    exchange = Exchange(*events)
    async with asyncio.timeout(patient(10)):
        await app(scope, exchange.receive, exchange.send)
    return exchange.sent


@pytest.mark.parametrize(
    ("path", "root_path", "expected"),
    [
        ("/ws", "", "/ws"),
        ("/live/ws", "/live", "/ws"),  # as the specification says
        ("/ws", "/live", "/ws"),  # mounts that take their prefix away
        ("/live", "/live", "/"),
        ("/lively/ws", "/live", "/lively/ws"),
        ("/live/ws", "/live/", "/ws"),
        ("/ws/", "", "/ws"),  # mounts that add a slash
        ("", "", "/"),
    ],
)
def test_paths_are_below_the_mount(path: str, root_path: str, expected: str) -> None:
    assert path_in({"path": path, "root_path": root_path}) == expected


def test_a_handshake_of_a_server_that_says_little() -> None:
    handshake = handshake_of({"type": "websocket", "path": "/ws"})
    assert (handshake.path, handshake.origin, handshake.host) == ("/ws", None, "")
    assert (handshake.arguments, handshake.cookies) == ({}, {})
    assert (handshake.remote_address, handshake.secure) == (None, False)


def test_a_handshake_of_a_mount_over_tls() -> None:
    handshake = handshake_of(
        {
            "type": "websocket",
            "path": "/ws",
            "root_path": "/live",
            "scheme": "wss",
            "client": ["::1", 5001],
            "query_string": b"a=1&a=2&b=%FF&c&\xff",
            "headers": [(b"Host", b"example.com"), (b"oRiGiN", b"https://example.com")],
        }
    )
    assert (handshake.path, handshake.remote_address, handshake.secure) == ("/live/ws", "::1", True)
    assert handshake.arguments["a"] == ["1", "2"]
    assert handshake.arguments["b"] == ["\N{REPLACEMENT CHARACTER}"]
    assert (handshake.host, handshake.origin) == ("example.com", "https://example.com")


def test_headers_that_come_twice_are_one() -> None:
    headers = Headers([(b"Cookie", b"a=1"), (b"cookie", b"b=2"), (b"X", b"1"), (b"x", b"\xe9")])
    assert (headers["COOKIE"], headers["x"]) == ("a=1; b=2", "1,é")
    assert ("X" in headers, "y" in headers) == (True, False)
    assert (sorted(headers), len(headers), headers.get("y")) == (["cookie", "x"], 2, None)


@pytest.mark.usefixtures("refused_pages")
async def test_two_origins_are_none_of_ours() -> None:
    app = SnorkyASGI(ServiceRegistry([Echo()]))
    origins = [(b"origin", b"http://localhost"), (b"origin", b"https://evil.example")]
    scope = {"type": "websocket", "path": "/ws", "headers": [(b"host", b"localhost"), *origins]}
    assert await told(app, scope, CONNECT) == [{"type": "websocket.close"}]


async def test_a_server_that_cannot_tell_a_reason_says_403() -> None:
    def authenticate(handshake: Handshake) -> None:
        raise Refused(401, "Please log in")

    app = SnorkyASGI(ServiceRegistry([], authenticate=authenticate))
    silent: list[dict[str, Any]] = [{}, {"extensions": None}]
    for extensions in silent:
        scope = {"type": "websocket", "path": "/ws", **extensions}
        assert await told(app, scope, CONNECT) == [{"type": "websocket.close"}]


async def test_who_leaves_before_the_answer_never_was_a_client() -> None:
    echo = Echo()
    app = SnorkyASGI(ServiceRegistry([echo]))
    scope = {"type": "websocket", "path": "/ws"}
    assert await told(app, scope, DISCONNECT) == []

    async def gone(message: Any) -> None:
        raise OSError("it has left")

    await app(scope, Exchange(CONNECT).receive, gone)
    assert echo.clients == []


async def test_a_server_that_raises_when_it_is_sent_to_has_lost_its_client() -> None:
    echo = Echo(greeting="Welcome")
    exchange = Exchange(CONNECT)

    async def send(message: Any) -> None:
        if message["type"] == "websocket.send":
            raise RuntimeError("it has left")

    async with asyncio.timeout(patient(10)):
        scope = {"type": "websocket", "path": "/ws"}
        await SnorkyASGI(ServiceRegistry([echo]))(scope, exchange.receive, send)
    assert echo.left.get_nowait().connected is False


async def test_events_that_hold_nothing_are_malformed_messages(expect_log: Any) -> None:
    app = SnorkyASGI(ServiceRegistry([Echo()]))
    events = [{"type": "websocket.receive"}, {"type": "websocket.receive", "text": "\ud800"}]
    sent = await told(app, {"type": "websocket", "path": "/ws"}, CONNECT, *events, DISCONNECT)
    assert [message["type"] for message in sent] == ["websocket.accept"]
    assert expect_log.all("Invalid JSON from client None") == 2


async def test_what_is_not_ours_is_not_found() -> None:
    app = SnorkyASGI(ServiceRegistry([PubSubService("pubsub")]))
    answer, body = await told(app, {"type": "http", "path": "/backend", "method": "POST"})
    assert (answer["status"], body["body"]) == (404, b"Not Found")
    extensions: Any = {"websocket.http.response": {}}
    scope = {"type": "websocket", "path": "/", "extensions": extensions}
    assert (await told(app, scope, CONNECT))[0]["status"] == 404
    with pytest.raises(RuntimeError, match="got 'telegraph'"):
        await told(app, {"type": "telegraph"})


async def test_a_path_may_be_the_mount_itself() -> None:
    app = SnorkyASGI(ServiceRegistry([Echo()]), websocket_path="/")
    for path in ("/live", "/live/"):
        scope = {"type": "websocket", "path": path, "root_path": "/live"}
        accepted = await told(app, scope, CONNECT, DISCONNECT)
        assert accepted == [{"type": "websocket.accept", "subprotocol": None}]


async def test_the_lifespan_is_answered() -> None:
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = await told(SnorkyASGI(), {"type": "lifespan"}, *events)
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


async def test_services_run_as_long_as_the_application() -> None:
    seen = []

    class Pool(Service):
        def start(self) -> None:
            seen.append("start")

        async def stop(self) -> None:
            seen.append("stop")

    async def other(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            seen.append((await receive())["type"])

    pools = (ServiceRegistry([Pool("pool")]), ServiceRegistry([Pool("pool")]))
    app = SnorkyASGI(*pools, api_key="open sesame", app=other)
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    await told(app, {"type": "lifespan"}, *events)

    assert seen == [*2 * ["start"], events[0]["type"], *2 * ["stop"], events[1]["type"]]


async def test_where_a_service_cannot_start_the_server_is_told(expect_log: Any) -> None:
    class Pool(Service):
        def start(self) -> None:
            raise OSError("no database")

    app = SnorkyASGI(ServiceRegistry([Pool("pool")]))
    (failed,) = await told(app, {"type": "lifespan"}, {"type": "lifespan.startup"})

    assert failed == {"type": "lifespan.startup.failed", "message": "OSError('no database')"}
    expect_log("The services could not be started")


async def test_another_application_gets_the_rest_and_the_lifespan() -> None:
    seen = []

    async def other(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], scope.get("path")))

    app = SnorkyASGI(ServiceRegistry([]), app=other)
    for scope in ({"type": "lifespan"}, {"type": "http", "path": "/"}):
        await told(app, scope)
    await told(app, {"type": "websocket", "path": "/other"})
    assert seen == [("lifespan", None), ("http", "/"), ("websocket", "/other")]


def test_mistakes_are_told_at_once() -> None:
    backend = ServiceRegistry([])
    for key in (None, "", [], [""]):
        with pytest.raises(ValueError, match="expected an api_key"):
            SnorkyASGI(None, backend, key)
    with pytest.raises(ValueError, match="begins with a slash, got 'ws'"):
        SnorkyASGI(backend, websocket_path="ws")
    with pytest.raises(TypeError, match="expected a list of origins"):
        SnorkyASGI(backend, allowed_origins="https://example.com")
