"""Moving to WebSocket where networks let only half of it through, old clients, and clocks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
import websockets
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.limits import Limits
from snorky.request_handlers.socketio import SnorkySocketIOHandler
from tests.lines import DEADLINE, until
from tests.patience import patient

EIO = "EIO=4&transport="


class Site:
    def __init__(self, listen: Callable[..., int], **options: Any) -> None:
        registry = ServiceRegistry(limits=Limits(handshake_timeout=0.6))
        route = SnorkySocketIOHandler.get_route(registry, **options)
        self.engine = route[2]["engine"]
        port = listen(Application([route], log_function=lambda handler: None))
        self.url = f"127.0.0.1:{port}/socket.io/?"
        self.http = httpx2.AsyncClient(timeout=DEADLINE)

    async def open(self) -> dict[str, Any]:
        response = await self.http.get(f"http://{self.url}{EIO}polling")
        opening: dict[str, Any] = json.loads(response.text[1:])
        return opening

    async def post(self, sid: str, packets: str) -> None:
        response = await self.http.post(f"http://{self.url}{EIO}polling&sid={sid}", content=packets)
        assert response.text == "ok"

    async def poll(self, sid: str) -> str:
        return (await self.http.get(f"http://{self.url}{EIO}polling&sid={sid}")).text

    def websocket(self, sid: str) -> Any:
        return websockets.connect(f"ws://{self.url}{EIO}websocket&sid={sid}")


Serve = Callable[..., Site]


@pytest.fixture
async def serve(listen: Callable[..., int]) -> AsyncIterator[Serve]:
    sites: list[Site] = []

    def run(**options: Any) -> Site:
        sites.append(Site(listen, **options))
        return sites[-1]

    yield run
    for site in sites:
        await site.http.aclose()


async def test_an_upgrade_is_not_believed_before_its_first_frame(serve: Serve) -> None:
    """There are networks through which the handshake passes, and nothing else."""
    site = serve()
    sid = (await site.open())["sid"]
    await site.post(sid, "40")
    assert (await site.poll(sid)).startswith("40{")
    async with site.websocket(sid) as silent:
        poll = asyncio.create_task(site.poll(sid))
        async with asyncio.timeout(DEADLINE):
            await silent.wait_closed()  # in its time
        assert not poll.done()
        await site.post(sid, "41")
        assert await poll in ("6", "41", "1")


async def test_an_upgrade_that_stops_half_way_keeps_nobody_busy(serve: Serve) -> None:
    site = serve()
    sid = (await site.open())["sid"]
    await site.post(sid, "40")
    assert (await site.poll(sid)).startswith("40{")
    async with site.websocket(sid) as half:
        await half.send("2probe")
        assert await half.recv() == "3probe"
        begun, polls = time.monotonic(), 0
        while site.engine.sockets[sid].upgrading:
            poll = asyncio.create_task(site.poll(sid))
            await asyncio.wait({poll}, timeout=DEADLINE)
            assert poll.result() == "6"
            polls += 1
        assert time.monotonic() - begun < patient(5)
        assert polls < 20
    socket = site.engine.sockets[sid]
    assert not socket.upgraded
    assert not socket.closed


async def test_an_upgrade_goes_through(serve: Serve) -> None:
    site = serve()
    sid = (await site.open())["sid"]
    await site.post(sid, "40")
    await site.poll(sid)
    async with site.websocket(sid) as socket:
        await socket.send("2probe")
        assert await socket.recv() == "3probe"
        assert await site.poll(sid) == "6"
        await socket.send("5")
        await until(lambda: site.engine.sockets[sid].upgraded)
        await socket.send("41")
        await until(lambda: sid not in site.engine.sockets or site.engine.sockets[sid].upgraded)


async def test_fractions_of_a_second_between_pings_are_told(serve: Serve) -> None:
    site = serve(ping_interval=0.5, ping_timeout=1.5)
    opening = await site.open()
    assert (opening["pingInterval"], opening["pingTimeout"]) == (500, 1500)
    await site.post(opening["sid"], "40")
    await site.poll(opening["sid"])
    assert await site.poll(opening["sid"]) == "2"


async def test_clients_of_older_protocols_are_told_at_once(serve: Serve) -> None:
    site = serve()
    for version in ("EIO=3&", ""):
        answer = await site.http.get(f"http://{site.url}{version}transport=polling")
        assert (answer.status_code, answer.text) == (
            400,
            "Unsupported protocol version: expected EIO=4 (Socket.IO 3 or later)",
        )
        with pytest.raises(websockets.InvalidStatus, match="400"):
            await websockets.connect(f"ws://{site.url}{version}transport=websocket")


async def test_nobody_goes_because_a_clock_was_set(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = serve(ping_interval=0.2, ping_timeout=2)
    sid = (await site.open())["sid"]
    await site.post(sid, "40")
    await site.poll(sid)
    assert await site.poll(sid) == "2"
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600)
    await site.engine.sockets[sid].check_ping_timeout()
    await site.post(sid, "3")
    assert await site.poll(sid) == "2"
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    await site.post(sid, "3")
    assert await site.poll(sid) == "2"


async def test_who_does_not_answer_pings_is_gone(serve: Serve) -> None:
    site = serve(ping_interval=0.1, ping_timeout=0.2)
    sid = (await site.open())["sid"]
    await site.post(sid, "40")
    await site.poll(sid)
    assert await site.poll(sid) == "2"
    await until(lambda: sid not in site.engine.sockets)


async def test_an_answer_that_waits_in_the_socket_is_read_first(serve: Serve) -> None:
    site = serve(ping_interval=0.1, ping_timeout=0.4)
    sid = (await site.open())["sid"]
    await site.post(sid, "40")
    await site.poll(sid)
    assert await site.poll(sid) == "2"
    answer = asyncio.create_task(site.post(sid, "3"))
    await asyncio.sleep(0.05)  # it is on its way
    time.sleep(0.8)  # noqa: ASYNC251  # what a slow service does
    session = site.engine.sockets[sid]
    assert await session.check_ping_timeout()
    await answer
    assert await site.poll(sid) == "2"
    assert not session.closed
