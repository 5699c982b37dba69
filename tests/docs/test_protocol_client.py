"""The client of the manual, which knows no more than the page about the protocol."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docs.examples.protocol import client as module
from docs.examples.protocol.client import (
    MAX_DELAY,
    CallError,
    Connection,
    Disconnected,
    connect,
    delay_before,
    stay_connected,
)
from snorky import close_codes
from snorky.close_codes import CloseCode
from tests.conftest import ExpectLog, free_port
from tests.docs.protocol_site import Live, TaskList, TaskView
from tests.identity.tokens import token
from tests.patience import patient

EXAMPLES = Path(module.__file__).parent.parent

LIVE = """
from snorky import ServiceRegistry
from snorky.services.datasync import BroadcastDealer, DataSyncBackend, DataSyncService

class AllTasks(BroadcastDealer):
    model = "Task"

datasync = DataSyncService("datasync", [AllTasks])
frontend = ServiceRegistry([datasync])
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
"""


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients come back sooner than in life."""
    monkeypatch.setattr(module, "SHORTEST_DELAY", 0.001)
    monkeypatch.setattr(module, "MIN_DELAY", 0.01)
    monkeypatch.setattr(module, "MAX_DELAY", 0.1)


def test_it_has_as_many_lines_as_its_page_says() -> None:
    lines = Path(module.__file__).read_text().splitlines()
    page = EXAMPLES.parent / "reference" / "client.md"
    assert f"\n{len(lines)} lines, made from the page of the [protocol]" in page.read_text()


async def next_of(connection: Connection) -> tuple[str, Any]:
    async with asyncio.timeout(patient(20)):
        return await anext(connection)


async def test_calls_are_answered_and_refused(live: Live, expect_log: ExpectLog) -> None:
    async with connect(live.url) as connection:
        assert await connection.call("works", "echo", value=[1, None, "ü"]) == [1, None, "ü"]
        with pytest.raises(CallError, match=r"^Not today$"):
            await connection.call("works", "refuse")
        with pytest.raises(CallError, match=r"^Unknown command$"):
            await connection.call("works", "dance")
        with pytest.raises(CallError, match=r"^Internal error$"):
            await connection.call("works", "fail")
        with pytest.raises(CallError, match=r"^Invalid params$"):
            await connection.call("works", "echo", service="a name that call has too")
    expect_log("Unhandled exception")
    expect_log("Invalid params")


async def test_answers_find_their_calls_in_whatever_order(live: Live) -> None:
    async with connect(live.url) as connection:
        waiting = asyncio.create_task(connection.call("works", "wait"))
        assert await connection.call("works", "echo", value=1) == 1
        assert not waiting.done()
        live.works.go_on.set()
        assert await waiting == "waited"


@pytest.mark.usefixtures("each_fanout")
async def test_notifications_come_from_every_service(live: Live) -> None:
    async with connect(live.url) as alice, connect(live.url) as bob:
        await alice.call("pubsub", "subscribe", channel="news")
        await bob.call("pubsub", "publish", channel="news", message="Tea")
        message = {"type": "message", "channel": "news", "message": "Tea"}
        assert await next_of(alice) == ("pubsub", message)


async def test_a_call_that_is_open_at_the_end_of_the_connection_is_told(live: Live) -> None:
    async with connect(live.url) as connection:
        waiting = asyncio.create_task(connection.call("works", "wait"))
        await connection.call("works", "echo", value=1)
        for client in tuple(live.frontend.clients):
            client.close(*close_codes.GOING_AWAY)
        with pytest.raises(Disconnected, match="server going away") as ended:
            await waiting
        assert ended.value.code == 1001
        for _ in range(2):
            with pytest.raises(Disconnected):
                await next_of(connection)
            with pytest.raises(Disconnected):
                await connection.call("works", "echo", value=1)
    live.works.go_on.set()


@pytest.mark.usefixtures("each_fanout")
async def test_who_lets_too_many_notifications_pile_up_is_disconnected(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_UNREAD", 3)
    async with connect(live.url) as connection:
        await connection.call("pubsub", "subscribe", channel="news")
        for number in range(4):
            live.pubsub.do_publish("news", number)
        received = [await next_of(connection) for _ in range(3)]
        assert [message["message"] for _, message in received] == [0, 1, 2]
        with pytest.raises(Disconnected, match="3 notifications wait to be taken"):
            await next_of(connection)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    "why",
    [
        close_codes.GOING_AWAY,
        close_codes.INTERNAL_ERROR,
        close_codes.TOKEN_EXPIRED,
        CloseCode(1000, ""),
        CloseCode(3499, "busy"),
        CloseCode(4000, "the application's"),
    ],
)
async def test_it_comes_back_where_the_code_allows(live: Live, why: CloseCode) -> None:
    connections = 0

    async def use(connection: Connection) -> str:
        nonlocal connections
        connections += 1
        await connection.call("pubsub", "subscribe", channel="news")
        if connections == 3:
            return "three times"
        for client in tuple(live.frontend.clients):
            client.close(*why)
        async for _ in connection:
            pass
        raise AssertionError("the connection has not ended")

    async with asyncio.timeout(patient(20)):
        assert await stay_connected(live.url, use) == "three times"
    await live.until_nobody_is_here()


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    "why",
    [close_codes.DISCONNECTED, close_codes.NOT_AUTHENTICATED, CloseCode(4500, "banned")],
)
async def test_it_stays_away_where_the_code_says_so(live: Live, why: CloseCode) -> None:
    async def use(connection: Connection) -> None:
        await connection.call("works", "echo", value=1)
        for client in tuple(live.frontend.clients):
            client.close(*why)
        async for _ in connection:
            pass

    with pytest.raises(Disconnected) as ended:
        async with asyncio.timeout(patient(20)):
            await stay_connected(live.url, use)
    assert (ended.value.code, ended.value.reason) == why
    await live.until_nobody_is_here()


@pytest.mark.usefixtures("soon")
async def test_it_brings_a_new_token_each_time(live: Live) -> None:
    brought = [token(lasts=-60), token("alice"), token("bob")]
    seen: list[Any] = []

    async def use(connection: Connection) -> None:
        await connection.call("works", "echo", value=1)
        (client,) = live.frontend.clients
        seen.append(client.identity)
        if client.identity != "bob":
            client.close(*close_codes.TOKEN_EXPIRED)
            await next_of(connection)

    async with asyncio.timeout(patient(20)):
        await stay_connected(live.url, use, token=lambda: brought.pop(0))
    assert seen == ["alice", "bob"]


@pytest.mark.usefixtures("soon")
async def test_it_does_not_come_back_to_who_refuses_it(live: Live) -> None:
    async def use(connection: Connection) -> None:
        raise AssertionError("nobody should let us in")

    with pytest.raises(Disconnected, match="403 Not you"):
        await stay_connected(f"{live.url}?who=banned", use)


def test_it_waits_longer_each_time_up_to_a_bound_and_never_not_at_all() -> None:
    for attempt, bound in enumerate([0.5, 1, 2, 4, 8, 16, 20, 20]):
        delays = [delay_before(attempt) for _ in range(200)]
        assert 0.1 <= min(delays) < max(delays) <= bound
        assert max(delays) > bound / 2
    assert delay_before(10**6) <= MAX_DELAY


@pytest.mark.usefixtures("soon")
async def test_a_list_stays_equal_through_restarts_of_the_server(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "live.py"
    file.write_text(LIVE)
    ports = ["--port", str(free_port()), "--backend-port", str(free_port())]

    async def start() -> Any:
        server = serve(file, *ports)
        await asyncio.to_thread(getattr, server, "backend_port")  # it listens
        return server

    server = await start()
    application = TaskList(server.backend_url)
    view = TaskView(application)
    url = server.url
    await application.save({"id": 1, "title": "Tea"})
    following = asyncio.create_task(stay_connected(url, view.follow))
    try:
        for number, ending in enumerate([signal.SIGKILL, signal.SIGTERM]):
            await view.loaded(number + 1)
            await application.save({"id": 1, "title": f"Tea {number}"})
            await application.save({"id": 10 + number, "title": "Cake"})
            await view.until(lambda: view.rows == application.rows)
            await asyncio.to_thread(server.stop, ending)
            await application.save({"id": 1, "title": "while nobody listens"})
            await application.delete(10 + number)
            server = await start()
        await view.loaded(3)
        await application.save({"id": 2, "title": "Sugar"})
        await view.until(lambda: view.rows == application.rows)
        assert view.rows == {
            1: {"id": 1, "title": "while nobody listens"},
            2: {"id": 2, "title": "Sugar"},
        }
    finally:
        following.cancel()
        await asyncio.wait([following])


async def test_the_program_on_the_page_prints_the_news(
    serve: Callable[..., Any], run_program: Callable[..., Any]
) -> None:
    server = serve(EXAMPLES / "quickstart" / "live.py")
    url = await asyncio.to_thread(getattr, server, "url")
    command = [sys.executable, "-W", "error", str(EXAMPLES / "protocol" / "news.py"), url]
    program = run_program(command)
    await asyncio.to_thread(program.wait_for, "Subscribed")
    async with connect(url) as connection:
        await connection.call("pubsub", "publish", channel="news", message="Tea is ready")
    await asyncio.to_thread(program.wait_for, "Tea is ready")
    assert await asyncio.to_thread(program.stop, signal.SIGINT) == 0
    assert program.lines == ["Subscribed", "Tea is ready", "Bye"]
