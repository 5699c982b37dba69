"""Every message to every client is counted, and once, whichever way it goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import websockets
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.asgi import SnorkyASGI
from snorky.audience import Audience
from snorky.client import Client
from snorky.envelope import Envelope
from snorky.metrics import metrics
from snorky.request_handlers.socketio import SnorkySocketIOHandler
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import Service
from tests.asgi.asgi_site import DEADLINE, Site
from tests.lines import until
from tests.request_handlers.comet_site import CometSite
from tests.request_handlers.socketio_site import HandPeer

Hear = Callable[[], Awaitable[Any]]
"""The next message."""
Connect = Callable[[], Awaitable[Hear]]


class Crowd(Service):
    """Everybody hears the same."""

    def __init__(self) -> None:
        super().__init__("crowd")
        self.audience = Audience()

    def client_connected(self, client: Client) -> None:
        self.audience.add(client)

    def client_disconnected(self, client: Client) -> None:
        self.audience.remove(client)


def by_websocket(stack: AsyncExitStack, url: str) -> Connect:
    async def connect() -> Hear:
        socket = await stack.enter_async_context(websockets.connect(url))

        async def hear() -> Any:
            async with asyncio.timeout(DEADLINE):
                return json.loads(await socket.recv())["message"]

        return hear

    return connect


@asynccontextmanager
async def websocket(registry: ServiceRegistry, listen: Any) -> AsyncIterator[Connect]:
    port = listen(Application([SnorkyWebSocketHandler.get_route(registry, "/ws")]))
    async with AsyncExitStack() as stack:
        yield by_websocket(stack, f"ws://127.0.0.1:{port}/ws")


@asynccontextmanager
async def asgi_websocket(registry: ServiceRegistry, listen: Any) -> AsyncIterator[Connect]:
    site = Site("uvicorn-auto")
    await site.start(SnorkyASGI(registry))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(site.stop)
        yield by_websocket(stack, f"ws://127.0.0.1:{site.port}/ws")


@asynccontextmanager
async def sockjs(registry: ServiceRegistry, listen: Any) -> AsyncIterator[Connect]:
    port = listen(Application(SnorkySockJSHandler.get_routes(registry, "/sockjs")))
    async with AsyncExitStack() as stack:
        yield by_websocket(stack, f"ws://127.0.0.1:{port}/sockjs/websocket")


@asynccontextmanager
async def socketio(registry: ServiceRegistry, listen: Any) -> AsyncIterator[Connect]:
    port = listen(Application([SnorkySocketIOHandler.get_route(registry)]))
    async with AsyncExitStack() as stack:

        async def connect() -> Hear:
            peer = await HandPeer.connect(port)
            stack.push_async_callback(peer.socket.close)

            async def hear() -> Any:
                return (await peer.event())[1]

            return hear

        yield connect


def comet(door: str, transport: str) -> Any:
    @asynccontextmanager
    async def served(registry: ServiceRegistry, listen: Any) -> AsyncIterator[Connect]:
        site = CometSite(door, listen)
        await site.serve(registry)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(site.stop)

            async def connect() -> Hear:
                session = await site.open()
                if transport == "sse":
                    stream = await stack.enter_async_context(site.events(session))

                    async def hear_event() -> Any:
                        return (await stream.message())[1]

                    return hear_event
                after = 0
                messages: list[Any] = []

                async def hear_poll() -> Any:
                    nonlocal after
                    while not messages:
                        answer = await site.poll(session, after)
                        after = answer["after"]
                        messages.extend(answer["messages"])
                    return messages.pop(0)["message"]

                return hear_poll

            yield connect

    return served


WAYS = {
    "websocket": websocket,
    "asgi": asgi_websocket,
    "sockjs": sockjs,
    "socketio": socketio,
    "sse": comet("tornado", "sse"),
    "polling": comet("tornado", "polling"),
    "asgi-sse": comet("uvicorn-auto", "sse"),
    "asgi-polling": comet("uvicorn-auto", "polling"),
}


@pytest.mark.usefixtures("each_fanout")
@pytest.mark.parametrize("way", WAYS)
async def test_each_is_counted_once_for_each_client(way: str, listen: Any) -> None:
    crowd = Crowd()
    registry = ServiceRegistry([crowd])
    async with WAYS[way](registry, listen) as connect:
        pages = [await connect() for _ in range(2)]
        await until(lambda: len(crowd.audience) == 2)
        alone = next(iter(registry.clients))
        before = metrics.messages_sent
        for number in range(3):
            crowd.audience.send(Envelope("crowd", number))
        crowd.send_message_to(alone, 3)
        heard = [[await hear() for _ in range(3)] for hear in pages]
        assert heard == [[0, 1, 2]] * 2
        assert metrics.messages_sent == before + 7
        alone.close()
        alone.send("nobody hears this")
        assert metrics.messages_sent == before + 7
