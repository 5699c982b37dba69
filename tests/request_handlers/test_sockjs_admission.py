"""Who may come by SockJS: which origins and identities, how many, and with how much."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets

from snorky import ServiceRegistry
from snorky.identity import Handshake, Refused
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from tests.patience import patient
from tests.request_handlers.sockjs_site import DEADLINE, SockJSSite
from tests.request_handlers.websocket_site import Echo

HTTP_TRANSPORTS = [
    ("POST", "xhr"),
    ("POST", "xhr_streaming"),
    ("GET", "eventsource"),
    ("GET", "htmlfile?c=x"),
    ("GET", "jsonp?c=x"),
]


@pytest.fixture
async def site(listen: Any) -> AsyncIterator[SockJSSite]:
    site = SockJSSite(listen)
    yield site
    await site.http.aclose()


@pytest.fixture
def echo() -> Echo:
    return Echo(greeting="hello")


# Origins


@pytest.mark.usefixtures("refused_pages")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "info"),
        ("OPTIONS", "info"),
        ("OPTIONS", "a/b/xhr"),
        ("POST", "a/b/xhr_send"),
        ("POST", "a/b/jsonp_send"),
        *((method, f"a/b/{transport}") for method, transport in HTTP_TRANSPORTS),
    ],
)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": ""},
        # As scripts, frames and forms are asked for: without an Origin.
        {"Referer": "http://evil.example/page"},
        {"Referer": "http://evil.example/127.0.0.1", "Sec_Fetch_Site": "cross-site"},
        {"Referer": "http://127.0.0.1@evil.example/"},
        {"Referer": "http://[/"},
        {"Host": "example.com", "Referer": "nothing"},
        {"Host": "example.com", "Sec_Fetch_Site": "cross-site"},
        {"Host": "example.com", "Sec_Fetch_Site": "same-site"},
    ],
)
async def test_pages_of_other_origins_get_nothing(
    site: SockJSSite, echo: Echo, method: str, path: str, headers: dict[str, str]
) -> None:
    site.serve(*SnorkySockJSHandler.get_routes(ServiceRegistry([echo]), "/sockjs"))
    refused = metrics.clients_refused
    response = await site.ask(method, f"/sockjs/{path}", **headers)

    assert response.status_code == 403
    assert response.text.startswith("Cross origin requests not allowed: ")
    assert "Access-Control-Allow-Origin" not in response.headers
    assert metrics.clients_refused == refused + 1
    assert echo.clients == []


@pytest.mark.usefixtures("refused_pages")
@pytest.mark.parametrize("path", ["a/b/websocket", "websocket"])
async def test_websockets_of_other_origins_get_nothing(
    site: SockJSSite, echo: Echo, path: str
) -> None:
    site.serve(*SnorkySockJSHandler.get_routes(ServiceRegistry([echo]), "/sockjs"))
    with pytest.raises(websockets.InvalidStatus) as refused:
        await site.connect(f"/sockjs/{path}", origin="http://evil.example")
    assert refused.value.response.status_code == 403
    assert echo.clients == []


@pytest.mark.usefixtures("refused_pages")
@pytest.mark.parametrize(
    ("headers", "readable_by"),
    [
        ({}, "*"),
        ({"Origin": "http://127.0.0.1:8000"}, "http://127.0.0.1:8000"),
        ({"Referer": "https://127.0.0.1:8000/page"}, "*"),
        ({"Sec_Fetch_Site": "same-origin"}, "*"),
        ({"Sec_Fetch_Site": "none"}, "*"),
    ],
)
@pytest.mark.parametrize(("method", "transport"), HTTP_TRANSPORTS)
async def test_pages_of_this_host_and_programs_may_come(
    site: SockJSSite,
    echo: Echo,
    headers: dict[str, str],
    readable_by: str,
    method: str,
    transport: str,
) -> None:
    site.serve(*SnorkySockJSHandler.get_routes(ServiceRegistry([echo]), "/sockjs"))
    async with site.streaming(method, f"/sockjs/a/b/{transport}", **headers) as stream:
        assert stream.response.status_code == 200
        assert stream.response.headers["Access-Control-Allow-Origin"] == readable_by
    assert len(echo.clients) == 1


@pytest.mark.usefixtures("refused_pages")
async def test_origins_can_be_listed(site: SockJSSite) -> None:
    site.serve_echo(allowed_origins=["https://app.example"])

    allowed = await site.get("/echo/info", Origin="https://app.example")
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert (await site.get("/echo/info", Origin="https://other.example")).status_code == 403
    assert (await site.get("/echo/info", Origin="null")).status_code == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_every_page_may_read_what_it_asks_for_where_all_are_allowed(
    site: SockJSSite, origin: str
) -> None:
    """A page opened from disk too, and with cookies: browsers ask for its name then."""
    site.serve_echo(allowed_origins=["*"])
    opened = await site.post(site.new_session() + "/xhr", Origin=origin)
    for response in (opened, await site.get("/echo/info", Origin=origin)):
        assert response.headers["Access-Control-Allow-Origin"] == origin
        assert response.headers["Access-Control-Allow-Credentials"] == "true"


async def test_the_iframe_page_lets_only_allowed_pages_embed_it(site: SockJSSite) -> None:
    registry = ServiceRegistry()
    site.serve(
        *SnorkySockJSHandler.get_routes(registry, "/own"),
        *SnorkySockJSHandler.get_routes(registry, "/listed", allowed_origins=["https://a.example"]),
        *SnorkySockJSHandler.get_routes(registry, "/all", allowed_origins=["*"]),
    )

    async def policy(path: str, **headers: str) -> Any:
        response = await site.get(path + "/iframe.html", **headers)
        return response.headers.get("Content-Security-Policy")

    own = "frame-ancestors 'self' http://127.0.0.1:* https://127.0.0.1:*"
    assert await policy("/own") == own
    assert await policy("/listed") == f"{own} https://a.example"
    assert await policy("/all") is None
    sixth = "frame-ancestors 'self' http://[::1]:* https://[::1]:*"
    assert await policy("/own", Host="[::1]:5001") == sixth


# Identities


def by_cookie(handshake: Handshake) -> str:
    name = handshake.cookies.get("name")
    if name is None:
        raise Refused(401, "Please log in")
    return name


@pytest.fixture
async def members(site: SockJSSite, echo: Echo) -> Echo:
    registry = ServiceRegistry([echo], authenticate=by_cookie)
    site.serve(*SnorkySockJSHandler.get_routes(registry, "/echo"))
    return echo


@pytest.mark.parametrize(("method", "transport"), HTTP_TRANSPORTS)
async def test_who_is_not_admitted_gets_no_session(
    site: SockJSSite, members: Echo, method: str, transport: str
) -> None:
    response = await site.ask(method, f"/echo/a/b/{transport}")

    assert (response.status_code, response.text) == (401, "Please log in")
    # The page may read why.
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert members.clients == []


async def test_a_client_is_who_opened_its_session(site: SockJSSite, members: Echo) -> None:
    session = await site.open_session(Cookie="name=alice")

    assert members.clients[0].identity == "alice"
    assert members.clients[0].remote_address == "127.0.0.1"
    async with site.connect(
        "/echo/a/b/websocket", additional_headers={"Cookie": "name=bob"}
    ) as socket:
        assert await socket.recv() == "o"
        greeting = json.loads((await socket.recv())[1:])[0]
        assert json.loads(greeting)["message"] == ["hello", "bob"]
    assert await site.poll(session, Cookie="name=alice; other=1") != ""


async def test_a_session_is_of_use_to_nobody_else(site: SockJSSite, members: Echo) -> None:
    session = await site.open_session(Cookie="name=alice")

    for path in ("xhr_send", "jsonp_send"):
        sent = await site.post(f"{session}/{path}", '["x"]', Cookie="name=bob")
        assert sent.status_code == 404
    for method, transport in HTTP_TRANSPORTS:
        read = await site.ask(method, f"{session}/{transport}", Cookie="name=bob")
        assert (read.status_code, read.text) == (403, "Session of another client")
        assert (await site.ask(method, f"{session}/{transport}")).status_code == 401
    # Alice has noticed nothing.
    await site.send(session, '{"service": "echo", "message": 1}', Cookie="name=alice")
    assert "hello" in (received := await site.poll(session, Cookie="name=alice"))
    assert "1" in received


async def test_who_left_while_being_admitted_gets_no_session(site: SockJSSite, echo: Echo) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def authenticate(handshake: Handshake) -> None:
        asked.set()
        await answer.wait()

    registry = ServiceRegistry([echo], authenticate=authenticate)
    site.serve(*SnorkySockJSHandler.get_routes(registry, "/echo"))
    _, writer = await site.raw_request("/echo/a/b/xhr")
    async with asyncio.timeout(DEADLINE):
        await asked.wait()
    writer.close()
    await writer.wait_closed()
    await site.get("/echo/info")  # by now the end has been read
    answer.set()
    await site.get("/echo/info")
    assert echo.clients == []


async def test_cookies_against_forged_requests_do_not_lock_sockjs_out(site: SockJSSite) -> None:
    """Its client knows nothing of Tornado's; the origin is checked instead."""
    site.serve(*SnorkySockJSHandler.get_routes(ServiceRegistry(), "/echo"), xsrf_cookies=True)
    session = await site.open_session()
    assert (await site.post(session + "/xhr_send", "[]")).status_code == 204


async def test_the_access_log_keeps_tokens_to_itself(site: SockJSSite) -> None:
    lines: list[str] = []
    site.serve(
        *SnorkySockJSHandler.get_routes(ServiceRegistry(), "/echo"),
        log_function=lambda handler: lines.append(handler._request_summary()),
    )
    await site.post("/echo/000/s/xhr?token=secret")

    assert lines == ["POST /echo/000/*/xhr (127.0.0.1)"]


# Limits


async def test_the_number_of_sessions_is_bounded(site: SockJSSite) -> None:
    site.serve_echo(max_sessions=2, disconnect_delay=0.5)
    sessions = [await site.open_session() for _ in range(2)]
    refused = await site.post(site.new_session() + "/xhr")
    assert (refused.status_code, refused.text) == (503, "Too many sessions")

    await site.send(sessions[0], "x")
    assert await site.poll(sessions[0]) == 'a["x"]\n'
    while (opened := await site.post(site.new_session() + "/xhr")).status_code == 503:
        pass
    assert opened.text == "o\n"


@pytest.mark.parametrize("size", [1001, 3900])
async def test_a_body_is_bounded(site: SockJSSite, size: int) -> None:
    site.serve_echo(max_body_bytes=1000)
    session = await site.open_session()
    refused = await site.post(session + "/xhr_send", json.dumps(["x" * (size - 4)]))

    assert (refused.status_code, refused.text) == (413, "Expected at most 1000 bytes")
    await site.send(session, "y" * 900)
    assert await site.poll(session) == 'a["' + "y" * 900 + '"]\n'


async def test_a_body_that_does_not_come_is_not_waited_for(site: SockJSSite) -> None:
    site.serve_echo(heartbeat_interval=0.2)
    session = await site.open_session()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    head = f"POST {session}/xhr_send HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n["
    writer.write(head.encode())
    async with asyncio.timeout(patient(20)):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    await site.send(session, "x")  # it has cost nobody the session


async def test_a_message_is_bounded(site: SockJSSite) -> None:
    site.serve_echo(ServiceRegistry(limits=Limits(max_message_bytes=100)))
    session = await site.open_session()
    await site.send(session, "x" * 100, "é" * 51, "behind it")

    assert await site.poll(session) == 'a["' + "x" * 100 + '"]\n'
    assert await site.poll(session) == 'c[1009,"message over 100 bytes"]\n'


async def test_many_messages_of_one_request_keep_their_order(site: SockJSSite) -> None:
    site.serve_echo(ServiceRegistry(limits=Limits(max_messages_per_turn=10)))
    session = await site.open_session()
    numbers = [str(number) for number in range(105)]
    await site.send(session, *numbers)
    assert json.loads((await site.poll(session))[1:]) == numbers

    async with site.connect("/echo/a/b/websocket") as socket:
        assert await socket.recv() == "o"
        await socket.send(json.dumps(numbers))
        await socket.send('["last"]')
        received: list[str] = []
        while "last" not in received:
            received += json.loads((await socket.recv())[1:])
    assert received == [*numbers, "last"]


@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_others_get_their_turn_between_many_messages(
    site: SockJSSite, transport: str
) -> None:
    """With ten in a turn, a hundred take ten turns: whoever asks meanwhile is served."""
    handled: list[str] = []
    turns = 0

    class Slow(SnorkySockJSHandler):
        def on_message(self, message: str) -> None:
            handled.append(message)

    async def others() -> None:
        nonlocal turns
        while len(handled) < 100:
            turns += 1 if handled else 0
            await asyncio.sleep(0)

    registry = ServiceRegistry(limits=Limits(max_messages_per_turn=10))
    site.serve(*Slow.get_routes(registry, "/echo"))
    messages = [str(number) for number in range(100)]
    async with asyncio.timeout(DEADLINE):
        if transport == "http":
            session = await site.open_session()
            await asyncio.gather(others(), site.send(session, *messages))
        else:
            async with site.connect("/echo/a/b/websocket") as socket:
                await asyncio.gather(others(), socket.send(json.dumps(messages)))
    assert turns >= 9
    assert handled == messages
