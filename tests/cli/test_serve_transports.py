"""``snorky serve`` lets clients in by every transport, and says goodbye to them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from tests.patience import patient

APP = """
from snorky import ServiceRegistry
from snorky.services.pubsub import PubSubService

frontend = ServiceRegistry([PubSubService("pubsub")])
"""


@pytest.fixture
def server(tmp_path: Path, serve: Any) -> Any:
    file = tmp_path / "live.py"
    file.write_text(APP)
    return serve(file)


@pytest.fixture
def address(server: Any) -> str:
    return f"http://127.0.0.1:{server.port}"


async def test_it_serves_comet_and_says_goodbye(server: Any, address: str) -> None:
    url = f"{address}/comet"
    async with httpx2.AsyncClient(timeout=patient(10)) as http:
        session = {"session": (await http.post(url)).json()["session"], "after": 0}
        async with http.stream("GET", url + "/events", params=session) as response:
            stopped = asyncio.create_task(asyncio.to_thread(server.stop))
            text = (await response.aread()).decode()
        assert text.endswith('event: close\ndata: [1001, "server going away"]\n\n')
        assert await stopped == 0
    assert not any(session["session"] in line for line in server.lines)


async def test_it_serves_sockjs_and_says_goodbye(server: Any) -> None:
    url = f"ws://127.0.0.1:{server.port}/sockjs/000/a/websocket"
    async with websockets.connect(url) as client:
        assert await client.recv() == "o"
        stopped = asyncio.create_task(asyncio.to_thread(server.stop))
        assert await client.recv() == 'c[1001,"server going away"]'
        assert await stopped == 0


async def test_it_serves_socketio_and_says_goodbye(server: Any) -> None:
    url = f"ws://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=websocket"
    async with websockets.connect(url) as client:
        assert str(await client.recv()).startswith('0{"sid":')
        await client.send("40")
        assert str(await client.recv()).startswith('40{"sid":')
        stopped = asyncio.create_task(asyncio.to_thread(server.stop))
        # Without a goodbye of Socket.IO's own, so that the page comes back by itself.
        assert [message async for message in client] == []
        assert await stopped == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/comet"),
        ("POST", "/sockjs/000/a/xhr"),
        ("GET", "/socket.io/?EIO=4&transport=polling"),
    ],
)
def test_pages_of_other_sites_are_refused_by_each(address: str, method: str, path: str) -> None:
    def status(origin: str) -> int:
        headers = {"Origin": origin}
        return httpx2.request(
            method, address + path, headers=headers, timeout=patient(10)
        ).status_code

    assert status("https://evil.example") in (400, 403)
    assert status("http://127.0.0.1:8000") == 200
