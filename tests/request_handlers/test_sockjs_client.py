"""The SockJS client itself, in Node, by each transport that it has there: one story."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from snorky import ServiceRegistry
from snorky.client import Client
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.services.base import Request, RPCService, Service, rpc_command
from snorky.services.pubsub import PubSubService
from snorky.testing import FakeClient, call
from tests.lines import until
from tests.request_handlers.sockjs_site import DEADLINE, SockJSSite

FOLDER = Path(__file__).parent.parent / "sockjs_client"
TRANSPORTS = ["websocket", "xhr-streaming", "eventsource", "xhr-polling"]
# What JavaScript, JSON, HTML and percent signs make of text.
TRICKY = '100% </script> \u2028\u2029\u200d\ufffe \0\r\n" \\ é → 😀'


class Calculator(RPCService):
    @rpc_command
    def sum(self, req: Request, number1: int, number2: int) -> int:
        return number1 + number2


class Echo(Service):
    def process_message_from(self, client: Client, msg: Any) -> None:
        self.send_message_to(client, msg)


class NodeClient:
    """client.mjs at work."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, url: str, transport: str) -> NodeClient:
        node = shutil.which("node")
        assert node is not None, "the SockJS client needs Node on PATH"
        assert (FOLDER / "node_modules").exists(), f"install the SockJS client: npm ci in {FOLDER}"
        process = await asyncio.create_subprocess_exec(
            node,
            str(FOLDER / "client.mjs"),
            url,
            transport,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return cls(process)

    async def event(self) -> Any:
        assert self.process.stdout is not None
        async with asyncio.timeout(2 * DEADLINE):
            return json.loads(await self.process.stdout.readline())

    async def message(self) -> Any:
        kind, text = await self.event()
        assert kind == "message"
        return json.loads(text)["message"]

    def send(self, service: str, message: Any) -> None:
        assert self.process.stdin is not None
        line = json.dumps({"service": service, "message": message})
        self.process.stdin.write(line.encode() + b"\n")

    def leave(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        self.process._transport.close()  # type: ignore[attr-defined]  # closes its pipes


@pytest.fixture
async def site(listen: Any) -> AsyncIterator[SockJSSite]:
    site = SockJSSite(listen)
    yield site
    await site.http.aclose()


@pytest.fixture
def pubsub() -> PubSubService:
    return PubSubService("pubsub")


@pytest.fixture
def registry(site: SockJSSite, pubsub: PubSubService) -> ServiceRegistry:
    registry = ServiceRegistry([pubsub, Calculator("calculator"), Echo("echo")])
    site.serve(*SnorkySockJSHandler.get_routes(registry, "/sockjs", disconnect_delay=1))
    return registry


@pytest.fixture(params=TRANSPORTS)
async def client(
    request: pytest.FixtureRequest, site: SockJSSite, registry: ServiceRegistry
) -> AsyncIterator[NodeClient]:
    client = await NodeClient.start(site.url + "/sockjs", request.param)
    assert await client.event() == ["open", request.param]
    yield client
    await client.kill()


async def test_calls_are_answered_and_publications_come_in_order(
    client: NodeClient, pubsub: PubSubService
) -> None:
    params = {"number1": 1, "number2": 2}
    client.send("calculator", {"command": "sum", "params": params, "callId": 0})
    assert await client.message() == {"type": "response", "callId": 0, "data": 3}

    client.send("pubsub", {"command": "subscribe", "params": {"channel": "news"}, "callId": 1})
    assert (await client.message())["type"] == "response"
    author = FakeClient()
    for number in range(100):
        call(pubsub, author, "publish", channel="news", message=number)
        if number % 10 == 0:
            await asyncio.sleep(0)
    assert [(await client.message())["message"] for _ in range(100)] == list(range(100))


async def test_text_arrives_as_it_was_both_ways(client: NodeClient) -> None:
    client.send("echo", TRICKY)
    client.send("echo", "x" * 50_000)
    assert await client.message() == TRICKY
    assert await client.message() == "x" * 50_000


async def test_whoever_leaves_is_gone(client: NodeClient, registry: ServiceRegistry) -> None:
    assert len(registry.clients) == 1
    client.leave()
    assert (await client.event())[0] == "close"
    await until(lambda: not registry.clients)


async def test_whoever_is_killed_is_gone(client: NodeClient, registry: ServiceRegistry) -> None:
    await client.kill()
    await until(lambda: not registry.clients)


async def test_whoever_is_closed_hears_why(client: NodeClient, registry: ServiceRegistry) -> None:
    for connected in tuple(registry.clients):
        connected.send({"service": "echo", "message": "last"})
        connected.close(4001, "no more")
    assert await client.message() == "last"
    assert await client.event() == ["close", 4001, "no more"]
    await until(lambda: not registry.clients)
