"""Every program of the manual does what its page says."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from tests.patience import patient
from tests.ports import free_port

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"


class Page:
    """What a page would do, in Python."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket

    async def call(self, service: str, command: str, **params: Any) -> Any:
        message = {"command": command, "params": params, "callId": 1}
        await self.socket.send(json.dumps({"service": service, "message": message}))
        while (answer := await self.receive())["type"] not in ("response", "error"):
            self.notifications.append(answer)
        return answer["data"] if answer["type"] == "response" else answer["message"]

    async def receive(self) -> Any:
        async with asyncio.timeout(patient(10)):
            return json.loads(await self.socket.recv())["message"]

    @property
    def notifications(self) -> list[Any]:
        return self.__dict__.setdefault("_notifications", [])


async def test_quick_start(serve: Callable[..., Any]) -> None:
    server = serve(EXAMPLES / "quickstart" / "live.py")
    async with websockets.connect(server.url) as one, websockets.connect(server.url) as two:
        assert await Page(one).call("pubsub", "subscribe", channel="news") is None
        assert await Page(two).call("pubsub", "publish", channel="news", message="Hello") is None
        expected = {"type": "message", "channel": "news", "message": "Hello"}
        assert await Page(one).receive() == expected


async def test_echo_service(
    run_program: Callable[..., Any], on_free_ports: Callable[..., Any]
) -> None:
    file, ports = on_free_ports(EXAMPLES / "echo_service.py")
    program = run_program([sys.executable, "-W", "error", str(file)])
    async with await connect_when_up(f"ws://127.0.0.1:{ports[5001]}/ws") as socket:
        await socket.send('{"service": "echo", "message": {"any": ["JSON"]}}')
        assert await Page(socket).receive() == {"any": ["JSON"]}
    assert await asyncio.to_thread(program.stop, signal.SIGINT) == 0
    assert program.lines == ["Bye"]


async def connect_when_up(url: str) -> websockets.ClientConnection:
    async with asyncio.timeout(patient(20)):
        while True:
            try:
                return await websockets.connect(url)
            except OSError:
                await asyncio.sleep(0.05)


async def test_calculator(serve: Callable[..., Any]) -> None:
    server = serve(EXAMPLES / "calculator.py")
    async with websockets.connect(server.url) as socket:
        page = Page(socket)
        assert await page.call("calculator", "sum", number1=1, number2=2) == 3
        assert await page.call("calculator", "log", number=2.718) == pytest.approx(1)
        refused = "Only positive numbers have a logarithm"
        assert await page.call("calculator", "log", number=-1) == refused
        assert await page.call("calculator", "sum", number1=1) == "Invalid params"


def test_the_tests_of_the_calculator() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."]
    done = subprocess.run(
        [*command, "test_calculator.py"],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        timeout=patient(60),
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


async def test_minimal_pubsub(serve: Callable[..., Any]) -> None:
    server = serve(EXAMPLES / "minimal_pubsub.py")
    async with websockets.connect(server.url) as one, websockets.connect(server.url) as two:
        await Page(one).call("pubsub", "subscribe")
        await Page(two).call("pubsub", "publish", message="Hello")
        assert await Page(one).receive() == {"type": "message", "message": "Hello"}


async def test_reports(serve: Callable[..., Any]) -> None:
    server = serve(EXAMPLES / "reports.py")
    async with websockets.connect(server.url) as socket:
        page = Page(socket)
        report = await page.call("reports", "report", first="2026-01-01", last="2026-01-31")
        assert report == {"days": 31, "columns": ["total"]}
        assert [n["percent"] for n in page.notifications] == [25, 50, 75]
        for params in ({"first": "soon", "last": "2026-01-31"}, {"first": 1, "last": 2}):
            assert await page.call("reports", "report", **params) == "Invalid params"


async def test_clock(serve: Callable[..., Any]) -> None:
    server = serve(EXAMPLES / "clock.py")
    async with websockets.connect(server.url) as socket:
        first, second = [await Page(socket).receive() for _ in range(2)]
    assert first["time"] < second["time"]


async def test_the_clock_in_a_tornado_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    clock, program = (importlib.import_module(name) for name in ("clock", "tornado_clock"))
    port = free_port()
    running = asyncio.ensure_future(program.main(port))
    service = clock.frontend.registered_services["clock"]
    async with asyncio.timeout(patient(20)):
        while not hasattr(service, "ticking"):
            await asyncio.sleep(0.01)
        async with websockets.connect(f"ws://127.0.0.1:{port}/ws") as socket:
            assert "time" in await Page(socket).receive()
    running.cancel()
    await asyncio.gather(running, service.ticking, return_exceptions=True)
    assert service.ticking.cancelled()


async def test_members_only(serve: Callable[..., Any]) -> None:
    server = serve(EXAMPLES / "members_only.py")
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(server.url)
    assert refused.value.response.status_code == 401
    assert refused.value.response.body == b"Please log in"
    cookie = {"Cookie": "session=a-session-of-bob"}
    async with websockets.connect(server.url, additional_headers=cookie) as socket:
        page = Page(socket)
        assert await page.call("pubsub", "subscribe", channel="news") is None
        assert await page.call("pubsub", "subscribe", channel="inbox of bob") is None
        assert await page.call("pubsub", "subscribe", channel="inbox of alice") == "Not authorized"
        assert await page.call("pubsub", "publish", channel="news", message=1) == "Not authorized"


async def test_announcements(serve: Callable[..., Any]) -> None:
    server = serve(EXAMPLES / "announcements.py")
    async with websockets.connect(server.url) as socket:
        page = Page(socket)
        await page.call("announcements", "subscribe", channel="all")
        refused = await page.call("announcements", "publish", channel="all", message="I say")
        assert refused == "Not authorized"
        await asyncio.to_thread(announce, server.backend_url, "Dinner is ready")
        assert (await page.receive())["message"] == "Dinner is ready"


async def test_one_program(
    run_program: Callable[..., Any], on_free_ports: Callable[..., Any]
) -> None:
    file, ports = on_free_ports(EXAMPLES / "one_program.py")
    program = run_program(
        [sys.executable, "-W", "error", str(file)],
        SNORKY_API_KEY="swordfish",
        PYTHONPATH=str(EXAMPLES),
    )
    async with await connect_when_up(f"ws://127.0.0.1:{ports[5001]}/ws") as socket:
        page = Page(socket)
        await page.call("announcements", "subscribe", channel="all")
        await asyncio.to_thread(announce, f"http://127.0.0.1:{ports[5002]}/backend", "Hi")
        assert (await page.receive())["message"] == "Hi"
    assert await asyncio.to_thread(program.stop, signal.SIGINT) == 0
    assert program.lines == ["Bye"]


def announce(url: str, text: str) -> None:
    env = {**os.environ, "SNORKY_BACKEND_URL": url, "SNORKY_API_KEY": "swordfish"}
    command = [sys.executable, "-W", "error", str(EXAMPLES / "announce.py"), text]
    subprocess.run(command, env=env, check=True, timeout=patient(30))


def test_curl_of_the_overview(serve: Callable[..., Any]) -> None:
    server = serve(EXAMPLES / "announcements.py")
    body = {
        "service": "announcements_backend",
        "message": {"command": "publish", "params": {"channel": "all", "message": "Hi"}},
    }
    response = httpx2.post(
        server.backend_url,
        headers={"X-Backend-Key": "swordfish", "Content-Type": "application/x-www-form-urlencoded"},
        content=json.dumps(body),
    )
    assert response.json()["message"] == {"type": "response", "data": None}
