"""Comet over ASGI: what the suite of both doors (tests/request_handlers) does not say."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount

from snorky import ServiceRegistry
from snorky.asgi import ASGIHandshake, SnorkyASGI
from snorky.identity import Handshake
from snorky.limits import Limits
from snorky.metrics import metrics
from tests.asgi.asgi_site import DEADLINE, Site
from tests.asgi.test_limits import Flood, Narrow
from tests.asgi.test_scopes import told
from tests.lines import turns, until
from tests.request_handlers.comet_site import EventStream
from tests.request_handlers.websocket_site import Echo

GOODBYE = 'event: close\ndata: [1001, "server going away"]\n\n'


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=DEADLINE) as http:
        yield http


async def opened(http: httpx2.AsyncClient, url: str, **options: Any) -> str:
    """The query of a session at ``url``."""
    response = await http.post(url, **options)
    assert response.status_code == 200, response.text
    return "?session=" + str(response.json()["session"])


@asynccontextmanager
async def events(http: httpx2.AsyncClient, url: str, session: str) -> AsyncIterator[EventStream]:
    async with http.stream("GET", f"{url}/events{session}") as response:
        assert response.status_code == 200, await response.aread()
        stream = EventStream(response)
        await stream.next()  # padding
        await stream.next()
        yield stream


async def said(http: httpx2.AsyncClient, url: str, session: str, number: int, message: Any) -> None:
    text = json.dumps({"service": "echo", "message": message})
    body = json.dumps({"first": number, "messages": [text]})
    response = await http.post(f"{url}/messages{session}", content=body)
    assert response.json() == {"received": number}


async def test_below_a_mount_and_behind_middleware(site: Site, http: httpx2.AsyncClient) -> None:
    """Middleware of this kind stands between us and the server: pipes for either direction."""

    class Stamping(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            response = await call_next(request)
            response.headers["X-Stamp"] = "seen"
            return response

    echo = Echo()
    live = SnorkyASGI(ServiceRegistry([echo]), comet_options={"disconnect_delay": 0.1})
    await site.start(Starlette(routes=[Mount("/live", live)], middleware=[Middleware(Stamping)]))
    url = f"{site.url}/live/comet"
    session = await opened(http, url)
    async with events(http, url, session) as stream:
        assert stream.response.headers["X-Stamp"] == "seen"
        await said(http, url, session, 1, "Hello")
        assert await stream.message() == (1, "Hello")
    async with asyncio.timeout(DEADLINE):
        gone = await echo.left.get()
    assert gone.scope["root_path"] == "/live"
    assert (await http.get(f"{site.url}/live/comet/other")).status_code == 404


async def test_what_is_not_comet_s_is_the_application_s(http: httpx2.AsyncClient) -> None:
    async def other(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 418})
        await send({"type": "http.response.body"})

    registry = ServiceRegistry([Echo()])
    for comet_path, ours in [("/comet", 200), (None, 418), ("/elsewhere", 418)]:
        served = Site("uvicorn-auto")
        await served.start(SnorkyASGI(registry, comet_path=comet_path, app=other))
        assert (await http.post(f"{served.url}/comet")).status_code == ours
        assert (await http.post(f"{served.url}/comet/no")).status_code == 418
        await served.stop()
    with pytest.raises(ValueError, match="begins with a slash, got 'comet'"):
        SnorkyASGI(registry, comet_path="comet")


@pytest.mark.usefixtures("refused_pages")
async def test_an_override_decides_which_page_may(
    uvicorn_site: Site, http: httpx2.AsyncClient
) -> None:
    asked: list[Any] = []

    class Choosy(SnorkyASGI):
        def check_origin(self, handshake: ASGIHandshake) -> bool:
            asked.append((handshake.origin, handshake.scope["path"]))
            return handshake.origin == "https://app.example"

    await uvicorn_site.start(Choosy(ServiceRegistry([Echo()])))
    url = f"{uvicorn_site.url}/comet"
    pages = [("https://app.example", 200), ("https://evil.example", 403)]
    for page, status in pages:
        for headers in ({"Origin": page}, {"Referer": f"{page}/page?x"}):
            assert (await http.post(url, headers=headers)).status_code == status
    assert asked == [(page, "/comet") for page, _ in pages for _ in range(2)]
    assert (await http.post(url)).status_code == 200, "programs have no page"


async def test_methods_that_are_none(site: Site, http: httpx2.AsyncClient) -> None:
    await site.start(SnorkyASGI(ServiceRegistry([Echo()])))
    for path, allowed in [("", "OPTIONS, POST"), ("/poll", "OPTIONS, GET")]:
        for method in ("PUT", "PROPFIND"):
            response = await http.request(method, f"{site.url}/comet{path}")
            assert (response.status_code, response.headers["Allow"]) == (405, allowed)


async def test_a_body_that_does_not_come_is_not_waited_for(uvicorn_site: Site) -> None:
    options: Any = {"heartbeat_interval": 0.1}
    await uvicorn_site.start(SnorkyASGI(ServiceRegistry([Echo()]), comet_options=options))
    async with httpx2.AsyncClient(timeout=DEADLINE) as http:
        session = await opened(http, f"{uvicorn_site.url}/comet")
    reader, writer = await asyncio.open_connection("127.0.0.1", uvicorn_site.port)
    writer.write(
        f"POST /comet/messages{session} HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Length: 100\r\n\r\n{".encode()
    )
    async with asyncio.timeout(DEADLINE):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_refusal_arrives_where_the_sender_sends_all_before_it_listens(
    site: Site,
) -> None:
    options: Any = {"max_body_bytes": 1_000_000}
    await site.start(SnorkyASGI(ServiceRegistry([Echo()]), comet_options=options))
    async with httpx2.AsyncClient(timeout=DEADLINE) as http:
        session = await opened(http, f"{site.url}/comet")

    def send_all(query: str) -> bytes:
        with socket.create_connection(("127.0.0.1", site.port), DEADLINE) as sender:
            head = f"POST /comet/messages{query} HTTP/1.1\r\nHost: localhost\r\n"
            sender.sendall(f"{head}Content-Length: 3000000\r\n\r\n".encode())
            sender.sendall(b"x" * 3_000_000)
            return sender.recv(12)

    assert await asyncio.to_thread(send_all, session) == b"HTTP/1.1 413"
    assert await asyncio.to_thread(send_all, "?session=x") == b"HTTP/1.1 410"


# The end


@pytest.mark.parametrize("server", ["uvicorn-auto", "hypercorn"])
async def test_a_server_that_ends_its_tasks_lets_us_say_goodbye(
    server: str, http: httpx2.AsyncClient, expect_log: Any
) -> None:
    served = Site(server)
    echo = Echo()
    options: Any = {} if server == "hypercorn" else {"timeout_graceful_shutdown": 1}
    await served.start(SnorkyASGI(ServiceRegistry([echo])), **options)
    url = f"{served.url}/comet"
    session = await opened(http, url)
    async with events(http, url, session) as stream:
        await asyncio.gather(served.stop(), _ends_with(stream, GOODBYE))
    async with asyncio.timeout(DEADLINE):
        await echo.left.get()
    expect_log.all("StreamReaderProtocol.connection_made")  # Python 3.11, of Hypercorn's own task


async def _ends_with(stream: EventStream, text: str) -> None:
    assert await stream.end() == text


async def test_the_end_of_the_lifespan_ends_the_sessions(http: httpx2.AsyncClient) -> None:
    async def other(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        ended.append(len(echo.clients) - echo.left.qsize())
        await send({"type": "lifespan.shutdown.complete"})

    for app in (None, other):
        ended: list[int] = []
        echo = Echo()
        served = Site("uvicorn-auto")
        await served.start(SnorkyASGI(ServiceRegistry([echo]), app=app))
        await opened(http, f"{served.url}/comet")
        await served.stop()
        assert echo.left.qsize() == 1
        assert ended == ([] if app is None else [0]), "the application comes after us"


async def test_a_program_may_end_the_sessions_itself(site: Site, http: httpx2.AsyncClient) -> None:
    live = SnorkyASGI(ServiceRegistry([Echo()]))
    await site.start(live)
    url = f"{site.url}/comet"
    async with events(http, url, await opened(http, url)) as stream:
        await live.end_sessions()
        assert await stream.end() == GOODBYE
    await SnorkyASGI().end_sessions()


# Who does not read


async def test_who_takes_nothing_for_too_long_is_let_go(site: Site) -> None:
    flood = Flood()
    limits = Limits(max_unsent_bytes=100_000_000)
    await site.start(SnorkyASGI(ServiceRegistry([flood], limits=limits), send_timeout=0.4))
    silent = metrics.clients_silent
    narrow = await Narrow.connect(site.port)
    async with AsyncExitStack() as stack:
        await until(lambda: flood.clients)
        reader = await stack.enter_async_context(site.connect(max_size=None))
        await until(lambda: len(flood.clients) == 2)
        for _ in range(2):
            flood.send_message_to(flood.clients[0], "x" * 9_000_000)
        async with asyncio.timeout(DEADLINE):
            assert await flood.left.get() is flood.clients[0]
        assert metrics.clients_silent == silent + 1
        flood.send_message_to(flood.clients[1], "still here")
        async with asyncio.timeout(DEADLINE):
            assert json.loads(await reader.recv())["message"] == "still here"
    await narrow.leave()


async def test_a_stream_that_nobody_reads_is_let_go(site: Site, http: httpx2.AsyncClient) -> None:
    flood = Flood()
    limits = Limits(max_unsent_bytes=100_000)
    options: Any = {"response_limit": 50_000_000}
    live = SnorkyASGI(ServiceRegistry([flood], limits=limits), comet_options=options)
    ended = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await live(scope, receive, send)
        ended.append(scope.get("path"))

    await site.start(app)
    session = await opened(http, f"{site.url}/comet")
    assert live.comet is not None
    (held,) = live.comet.endpoint.sessions.values()
    _, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1024)
    writer.write(f"GET /comet/events{session} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await until(lambda: held.receiver is not None)
    async with asyncio.timeout(DEADLINE):
        while flood.left.empty():
            flood.send_message_to(flood.clients[0], "x" * 50_000)
            await asyncio.sleep(0.001)
    await until(lambda: "/comet/events" in ended)
    writer.close()


# Servers that say little


async def test_who_has_left_before_it_was_admitted_opens_no_session() -> None:
    async def authenticate(handshake: Handshake) -> None:
        await turns()

    live = SnorkyASGI(ServiceRegistry([Echo()], authenticate=authenticate))
    events = [{"type": "http.request"}, {"type": "http.disconnect"}]
    scope = {"type": "http", "path": "/comet", "method": "POST", "headers": []}
    assert await told(live, scope, *events) == []
    assert live.comet is not None
    assert live.comet.endpoint.sessions == {}
    assert await told(live, scope, events[1]) == [], "nor who left before its request had come"


async def test_a_server_that_raises_when_it_is_sent_to_has_lost_its_client() -> None:
    requests = [{"type": "http.request"}]

    async def receive() -> Any:
        return requests.pop() if requests else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)
        raise OSError("it has left")

    live = SnorkyASGI(ServiceRegistry([Echo()]))
    sent: list[Any] = []
    scope = {"type": "http", "path": "/comet", "method": "POST", "headers": []}
    async with asyncio.timeout(DEADLINE):
        await live(scope, receive, send)
    assert len(sent) == 1
