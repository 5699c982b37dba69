"""The programs of the guide's page on ASGI, under uvicorn."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from snorky.backend.aio import SnorkyBackend, SnorkyHTTPTransport
from tests.asgi.asgi_site import DEADLINE
from tests.docs.test_examples import Page
from tests.request_handlers.comet_site import EventStream

GOODBYE = 'event: close\ndata: [1001, "server going away"]\n\n'
EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples" / "asgi"


class Example:
    """A program that serves the web and the services on one port."""

    def __init__(self, run_program: Callable[..., Any], on_free_ports: Callable[..., Any]) -> None:
        self._run = run_program
        self._on_free_ports = on_free_ports
        self.client = httpx2.AsyncClient()

    async def start(self, name: str, **env: str) -> None:
        file, ports = self._on_free_ports(EXAMPLES / name)
        self.address = f"127.0.0.1:{ports[5001]}"
        self.program = self._run([sys.executable, "-W", "error", str(file)], **env)
        await asyncio.to_thread(self.program.wait_for, "Uvicorn running on")

    def connect(self, path: str, **options: Any) -> Any:
        return websockets.connect(f"ws://{self.address}{path}", **options)

    async def announce(self, **options: Any) -> None:
        response = await self.client.post(f"http://{self.address}/announce", **options)
        assert response.status_code == 204, response.text

    async def refuses(self, path: str, status: int, reason: bytes, **options: Any) -> None:
        with pytest.raises(websockets.InvalidStatus) as error:
            await self.connect(path, **options)
        response = error.value.response
        assert (response.status_code, response.body) == (status, reason)

    async def stop_with_a_stream(self, mount: str, **headers: str) -> None:
        """Somebody without WebSocket is served, and told when the program ends."""
        url = f"http://{self.address}{mount}/comet"
        async with httpx2.AsyncClient(headers=headers, timeout=DEADLINE) as http:
            refused = await http.post(url, headers={"Origin": "https://evil.example"})
            assert refused.status_code == 403
            query = "?session=" + (await http.post(url)).json()["session"]
            async with http.stream("GET", f"{url}/events{query}") as response:
                stream = EventStream(response)
                await stream.next()  # padding
                await stream.next()
                message = {"command": "subscribe", "params": {"channel": "news"}, "callId": 1}
                texts = [json.dumps({"service": "pubsub", "message": message})]
                body = json.dumps({"first": 1, "messages": texts})
                assert (await http.post(f"{url}/messages{query}", content=body)).is_success
                assert '"callId":1' in await stream.next()
                stopping = asyncio.create_task(self.stop())
                assert await stream.end() == GOODBYE
            await stopping

    async def stop(self) -> None:
        await self.client.aclose()
        assert await asyncio.to_thread(self.program.stop, signal.SIGINT) in (0, -signal.SIGINT)
        assert [line for line in self.program.lines if "rror" in line or "Traceback" in line] == []


@pytest.fixture
def example(run_program: Callable[..., Any], on_free_ports: Callable[..., Any]) -> Example:
    return Example(run_program, on_free_ports)


async def hears(page: Page, message: str) -> None:
    assert await page.receive() == {"type": "message", "channel": "news", "message": message}


async def test_starlette(example: Example) -> None:
    await example.start("starlette_live.py")
    await example.refuses("/live/ws", 401, b"Please log in")
    await example.refuses("/live/nowhere", 404, b"Not Found")
    headers = {"Cookie": "token=a-token-of-ana"}
    async with example.connect("/live/ws", additional_headers=headers) as socket:
        await Page(socket).call("pubsub", "subscribe", channel="news")
        await example.announce(content="Hello")
        await hears(Page(socket), "Hello")
    await example.stop_with_a_stream("/live", **headers)


async def test_fastapi(example: Example) -> None:
    await example.start("fastapi_live.py", SNORKY_API_KEY="swordfish")
    client_file = await example.client.get(f"http://{example.address}/static/snorky.js")
    assert "Snorky" in client_file.text
    url = f"http://{example.address}/live/backend"
    async with (
        example.connect("/live/ws") as socket,
        SnorkyHTTPTransport(url, "swordfish") as transport,
    ):
        await Page(socket).call("pubsub", "subscribe", channel="news")
        await example.announce(json={"text": "Hello"})
        await hears(Page(socket), "Hello")
        snorky = SnorkyBackend(transport)
        await snorky.call("pubsub_backend", "publish", channel="news", message="Bye")
        await hears(Page(socket), "Bye")
    await example.stop_with_a_stream("/live")


async def test_litestar(example: Example) -> None:
    await example.start("litestar_live.py")
    async with example.connect("/live/ws") as socket:
        await Page(socket).call("pubsub", "subscribe", channel="news")
        await example.announce(content="Hello")
        await hears(Page(socket), "Hello")
    await example.refuses(
        "/live/ws",
        403,
        b"Cross origin websockets not allowed: https://evil.example",
        origin="https://evil.example",
    )
    await example.stop_with_a_stream("/live")


async def test_django(example: Example) -> None:
    await example.start("django_live.py")
    await example.refuses("/ws", 401, b"Please log in")
    response = await example.client.get(f"http://{example.address}/log-in/ana")
    headers = {"Cookie": f"sessionid={response.cookies['sessionid']}"}
    async with example.connect("/ws", additional_headers=headers) as socket:
        await Page(socket).call("pubsub", "subscribe", channel="news")
        await example.announce(content="Hello")
        await hears(Page(socket), "Hello")
        await example.client.post(f"http://{example.address}/remind", content="Again")
        await hears(Page(socket), "Again")
    await example.stop_with_a_stream("", **headers)
