"""Server-Sent Events and long polling over real sockets: who may come, what comes, who has left."""

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
from snorky.identity import Handshake, Refused
from snorky.limits import Limits
from snorky.metrics import metrics
from tests.lines import RESET, until
from tests.request_handlers.comet_site import DEADLINE, DOORS, CometSite
from tests.request_handlers.websocket_site import Echo

LIMITS = Limits(max_unsent_bytes=100_000, max_message_bytes=1000, socket_send_buffer_bytes=4096)


@pytest.fixture(params=DOORS)
async def site(request: pytest.FixtureRequest, listen: Any) -> AsyncIterator[CometSite]:
    site = CometSite(request.param, listen)
    yield site
    await site.stop()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def registry(echo: Echo) -> ServiceRegistry:
    return ServiceRegistry([echo], limits=LIMITS)


async def left(echo: Echo) -> Any:
    async with asyncio.timeout(DEADLINE):
        return await echo.left.get()


def by_cookie(handshake: Handshake) -> str | None:
    name = handshake.cookies.get("name")
    if name == "mallory":
        raise Refused(403, "Not you")
    return name


# What comes


async def test_by_events_and_by_polls_alternately(site: CometSite, registry: Any) -> None:
    await site.serve(registry)
    session = await site.open()
    async with site.events(session) as stream:
        assert (await site.post(session, 1, "a", "é\n\u2028")).json() == {"received": 2}
        assert await stream.message() == (1, "a")
        assert await stream.message() == (2, "é\n\u2028")
    await site.post(session, 3, "c")
    envelope = {"service": "echo", "message": "c"}
    assert await site.poll(session, 2) == {"after": 3, "messages": [envelope]}
    assert await site.poll(session, 2) == {"after": 3, "messages": [envelope]}, "it was lost"
    async with site.events(session, 0, Last_Event_ID="2") as stream:
        assert await stream.message() == (3, "c")


async def test_a_poll_waits_for_a_message(site: CometSite, registry: Any, echo: Echo) -> None:
    await site.serve(registry)
    session = await site.open()
    poll = asyncio.create_task(site.poll(session))
    (held,) = site.endpoint.sessions.values()
    await until(lambda: held.receiver is not None)
    echo.clients[0].send("now")
    assert await poll == {"after": 1, "messages": ["now"]}


async def test_what_is_posted_again_is_not_delivered_again(site: CometSite, registry: Any) -> None:
    await site.serve(registry)
    session = await site.open()
    await site.post(session, 1, "a", "b")
    assert (await site.post(session, 1, "a", "b", "c")).json() == {"received": 3}
    both = await asyncio.gather(*(site.post(session, 4, "d", "e") for _ in range(5)))
    assert {response.status_code for response in both} == {200}
    async with site.events(session) as stream:
        assert [(await stream.message())[1] for _ in range(5)] == list("abcde")
        await site.post(session, 6, "f")
        assert await stream.message() == (6, "f")


async def test_a_gap_is_refused(site: CometSite, registry: Any, expect_log: Any) -> None:
    await site.serve(registry)
    session = await site.open()
    response = await site.post(session, 2, "b")
    assert (response.status_code, response.text) == (400, "Expected message 1, got 2")
    expect_log("Expected message 1, got 2")


async def test_who_missed_too_much_starts_anew(site: CometSite, registry: Any) -> None:
    await site.serve(registry, max_kept_bytes=10)
    session = await site.open()
    for number in (1, 2):
        await site.post(session, number, "x" * 30)
        await site.poll(session, number - 1)
    for path in ("/poll", "/events"):
        for after in (0, 7):
            response = await site.ask("GET", f"{path}{session}&after={after}")
            assert response.status_code == 410
            assert "start anew" in response.text
    for path in ("/poll", "/events", "/poll?session=", "/poll?session=unknown"):
        assert (await site.ask("GET", path)).status_code == 410
    assert (await site.ask("GET", f"/poll{session}&after=x")).status_code == 400


@pytest.mark.parametrize("compress", [False, True])
async def test_nothing_keeps_events_back(site: CometSite, registry: Any, compress: bool) -> None:
    await site.serve(registry, heartbeat_interval=0.2, compress=compress)
    session = await site.open()
    async with site.events(session) as stream:
        headers = stream.response.headers
        assert headers["Content-Type"] == "text/event-stream; charset=UTF-8"
        assert headers["Cache-Control"] == "no-store, no-transform"
        assert headers["X-Accel-Buffering"] == "no"
        assert await stream.next() == ":"
        await site.post(session, 1, "a")
        while (event := await stream.next()) == ":":
            pass
        assert event.startswith("id: 1\ndata: ")
    assert await site.poll(session, 1) == {"after": 1, "messages": []}, "a heartbeat"


async def test_a_stream_ends_at_its_limit_and_goes_on_in_the_next(
    site: CometSite, registry: Any
) -> None:
    await site.serve(registry, response_limit=100)
    session = await site.open()
    async with site.events(session) as stream:
        await site.post(session, 1, "x" * 100)
        assert (await stream.message())[0] == 1
        assert await stream.end() == ""
        await site.post(session, 2, "b")
    async with site.events(session, 1) as stream:
        assert await stream.message() == (2, "b")


async def test_the_newest_receiver_has_the_session(site: CometSite, registry: Any) -> None:
    await site.serve(registry)
    session = await site.open()
    poll = asyncio.create_task(site.ask("GET", f"/poll{session}&after=0"))
    (held,) = site.endpoint.sessions.values()
    await until(lambda: held.receiver is not None)
    async with site.events(session) as first:
        assert (await poll).status_code == 409
        async with site.events(session) as second:
            assert await first.end() == ""
            await site.post(session, 1, "a")
            assert await second.message() == (1, "a")


# Who may come


async def test_a_session_is_its_owners(site: CometSite, echo: Echo) -> None:
    await site.serve(ServiceRegistry([echo], authenticate=by_cookie))
    assert (await site.ask("POST", "", Cookie="name=mallory")).status_code == 403
    session = await site.open(Cookie="name=alice")
    assert echo.clients[0].identity == "alice"
    for method, path in [
        ("GET", "/poll"),
        ("GET", "/events"),
        ("POST", "/messages"),
        ("POST", "/close"),
    ]:
        assert (await site.ask(method, path + session, Cookie="name=bob")).status_code == 410
        assert (await site.ask(method, path + session)).status_code == 410
        refused = await site.ask(method, path + session, Cookie="name=mallory")
        assert (refused.status_code, refused.text) == (403, "Not you")
    assert (await site.post(session, 1, "a", Cookie="name=alice")).status_code == 200
    ids = {await site.open() for _ in range(20)}
    assert len(ids) == 20
    assert min(map(len, ids)) >= len("?session=") + 32


@pytest.mark.usefixtures("refused_pages")
async def test_pages_of_foreign_origins_get_nowhere(site: CometSite, registry: Any) -> None:
    await site.serve(registry, allowed_origins=["https://app.example"])
    session = await site.open()
    paths = [("POST", ""), ("POST", "/close"), ("POST", "/messages")]
    for method, path in [*paths, ("GET", "/poll"), ("GET", "/events")]:
        for asked in (method, "OPTIONS"):
            for headers in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
                response = await site.ask(asked, path + session, **headers)
                assert response.status_code == 403
                assert "Access-Control-Allow-Origin" not in response.headers
        preflight = await site.ask("OPTIONS", path, Origin="https://app.example")
        assert preflight.status_code == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert preflight.headers["Access-Control-Allow-Credentials"] == "true"
        assert method in preflight.headers["Access-Control-Allow-Methods"]
        for header in ("Authorization", "Last-Event-ID"):
            assert header in preflight.headers["Access-Control-Allow-Headers"]
    answer = await site.ask("POST", "", Origin="https://app.example")
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert answer.headers["Vary"] == "Origin"


async def test_sessions_are_bounded_in_number(site: CometSite, registry: Any) -> None:
    await site.serve(registry, max_sessions=2)
    session = await site.open()
    await site.open()
    response = await site.ask("POST", "")
    assert (response.status_code, response.text) == (503, "Too many sessions")
    await site.ask("POST", "/close" + session)
    assert metrics.clients_refused > 0


async def test_bodies_are_bounded(site: CometSite, registry: Any, expect_log: Any) -> None:
    await site.serve(registry, max_body_bytes=1000)
    session = await site.open()
    response = await site.ask("POST", "/messages" + session, b"\n" * 1001)
    assert (response.status_code, response.text) == (413, "Expected at most 1000 bytes")
    response = await site.ask("POST", "/messages" + session, b"\n" * 1000)
    assert (response.status_code, response.text) == (400, "Expected JSON")
    expect_log("Expected JSON. From client 127.0.0.1")


async def test_a_body_that_does_not_come_is_not_waited_for(site: CometSite, registry: Any) -> None:
    await site.serve(registry, heartbeat_interval=0.2)
    session = await site.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    head = f"POST /comet/messages{session} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9"
    writer.write(f"{head}\r\n\r\n[".encode())
    async with asyncio.timeout(DEADLINE):
        answer = await reader.readline()  # Tornado has none
    assert not answer or answer.startswith(b"HTTP/1.1 408 ")
    writer.close()
    await writer.wait_closed()


async def test_a_message_too_long_ends_the_session(site: CometSite, registry: Any) -> None:
    await site.serve(registry)
    session = await site.open()
    await site.post(session, 1, "x" * 1000, "never")
    why = [1009, "message over 1000 bytes"]
    assert await site.poll(session) == {"after": 0, "messages": [], "close": why}


async def test_garbage_in_a_message_costs_nobody_the_session(
    site: CometSite, registry: Any, expect_log: Any
) -> None:
    await site.serve(registry)
    session = await site.open()
    body = json.dumps({"first": 1, "messages": ["{", "\ud800", ""]})
    assert (await site.ask("POST", "/messages" + session, body)).json() == {"received": 3}
    assert expect_log.all("Invalid JSON") == 3
    await site.post(session, 4, "a")
    assert (await site.poll(session))["after"] == 1


# Who has left


async def test_who_does_not_come_back_is_gone(site: CometSite, registry: Any, echo: Echo) -> None:
    await site.serve(registry, disconnect_delay=0.1)
    clients = metrics.clients
    session = await site.open()
    assert metrics.clients == clients + 1
    client = await left(echo)
    assert not client.connected
    assert metrics.clients == clients
    client.send("nobody hears it")
    assert (await site.ask("GET", "/poll" + session)).status_code == 410
    assert (await site.post(session, 1, "a")).status_code == 410


async def test_who_waits_is_not_gone(site: CometSite, registry: Any, echo: Echo) -> None:
    await site.serve(registry, disconnect_delay=0.05, heartbeat_interval=0.2)
    async with site.events(await site.open()) as stream:
        assert [await stream.next() for _ in range(2)] == [":", ":"]
        assert echo.left.empty()
    await left(echo)


async def test_who_says_goodbye_is_gone_at_once(site: CometSite, registry: Any, echo: Echo) -> None:
    await site.serve(registry)
    session = await site.open()
    assert (await site.ask("POST", "/close" + session)).status_code == 204
    await left(echo)
    assert (await site.poll(session))["close"] == [1000, ""]


@pytest.mark.parametrize("path", ["/events", "/poll"])
async def test_a_reset_is_noticed_and_may_be_recovered(
    site: CometSite, registry: Any, echo: Echo, path: str
) -> None:
    await site.serve(registry, disconnect_delay=0.3)
    session = await site.open()
    (held,) = site.endpoint.sessions.values()
    for _ in range(2):
        _, writer = await site.request_raw("GET", path + session)
        await until(lambda: held.receiver is not None)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.close()
        await until(lambda: held.receiver is None)
        assert echo.left.empty()
    await left(echo)
    assert site.endpoint.sessions == {}


@pytest.mark.parametrize("path", ["/events", "/poll"])
async def test_who_does_not_read_is_cut(
    site: CometSite, registry: Any, echo: Echo, path: str
) -> None:
    await site.serve(registry)
    session = await site.open()
    slow = metrics.clients_slow
    _, writer = await site.request_raw("GET", path + session)
    (held,) = site.endpoint.sessions.values()
    await until(lambda: held.receiver is not None)
    while not held.closed:
        echo.clients[0].send("x" * 50_000)
        await asyncio.sleep(0)
    await left(echo)
    assert metrics.clients_slow == slow + 1
    assert (await site.poll(session))["close"][0] == 3000
    writer.close()


async def test_who_stops_reading_is_noticed(site: CometSite, registry: Any, echo: Echo) -> None:
    await site.serve(
        registry, heartbeat_interval=0.1, disconnect_delay=0.1, response_limit=50_000_000
    )
    session = await site.open()
    # More than fits the buffers of both sides, in one message.
    _, writer = await site.request_raw("GET", "/events" + session)
    await until(lambda: next(iter(site.endpoint.sessions.values())).receiver is not None)
    silent = metrics.clients_silent
    echo.clients[0].send("x" * 20_000_000)
    await left(echo)
    assert metrics.clients_silent == silent + 1
    writer.close()


async def test_an_answer_on_its_way_is_a_connection(
    site: CometSite, registry: Any, echo: Echo
) -> None:
    await site.serve(registry, disconnect_delay=0.1)
    _, writer = await site.request_raw("GET", "/poll" + await site.open())
    (held,) = site.endpoint.sessions.values()
    await until(lambda: held.receiver is not None)
    echo.clients[0].send("x" * 20_000_000)
    await until(lambda: held.unsent_bytes > 0)
    await site.open()
    assert await left(echo) is echo.clients[1]
    assert not held.closed
    writer.close()


async def test_the_server_says_goodbye(site: CometSite, registry: Any, echo: Echo) -> None:
    await site.serve(registry)
    session = await site.open()
    async with site.events(session) as stream:
        await site.post(session, 1, "a")
        echo.clients[0].close(3000, "moving")
        assert await stream.message() == (1, "a")
        assert await stream.end() == 'event: close\ndata: [3000, "moving"]\n\n'
    await left(echo)
    assert (await site.post(session, 5, "never")).json() == {"received": 1}
    assert (await site.ask("GET", "/events" + session + "&after=1")).text.endswith('"moving"]\n\n')


async def test_services_that_fail_end_the_session_alone(
    site: CometSite, registry: Any, expect_log: Any
) -> None:
    class Broken(Echo):
        def client_connected(self, client: Any) -> None:
            raise RuntimeError("broken")

    await site.serve(ServiceRegistry([Broken()]))
    session = await site.open()
    expect_log("Unhandled exception while connecting 127.0.0.1")
    assert (await site.poll(session))["close"] == [1011, "internal error"]


async def test_a_session_leaves_nothing_to_the_collector(
    site: CometSite, registry: Any, echo: Echo
) -> None:
    await site.serve(registry, disconnect_delay=0.1)
    gc.disable()
    try:
        session = await site.open()
        await site.post(session, 1, "a")
        await site.poll(session)
        client = weakref.ref(await left(echo))
        echo.clients.clear()
        await until(lambda: client() is None)
    finally:
        gc.enable()


async def test_a_receiver_that_does_not_read_is_cut_when_another_comes(
    site: CometSite, echo: Echo
) -> None:
    await site.serve(ServiceRegistry([echo]), response_limit=50_000_000)
    session = await site.open()
    (held,) = site.endpoint.sessions.values()
    _, writer = await site.request_raw("GET", "/events" + session)
    await until(lambda: held.receiver is not None)
    stuck: Any = held.receiver
    echo.clients[0].send("x" * 20_000_000)
    await until(lambda: stuck.unsent_bytes > 0)
    assert (await site.poll(session))["messages"] == ["x" * 20_000_000]
    assert stuck.exchange.gone
    writer.close()
