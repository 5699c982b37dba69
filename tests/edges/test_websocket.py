"""WebSockets keep the contract of the edges: Tornado's, with TLS, and the front door's."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop
from tornado.netutil import bind_sockets
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.request_handlers.front_door import FrontDoor
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from tests.contracts.edge import EdgeContract
from tests.edges.edge import FOLDER, Edge, Served, serve_tornado
from tests.edges.tls_relay import TLSRelay

pytestmark = pytest.mark.usefixtures("each_fanout")


class Tornado(Edge):
    async def serve(
        self, registry: ServiceRegistry, *, allowed_origins: Any, certificate: Any, **options: Any
    ) -> Served:
        route = SnorkyWebSocketHandler.get_route(registry, "/ws", allowed_origins=allowed_origins)
        if self.tls:
            return serve_tornado([route], "wss://{}/ws", certificate)
        return serve_tornado([route], "ws://{}/ws")


class TornadoWithTLS(Tornado):
    tls = True


class TheFrontDoor(Edge):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return uvloop.new_event_loop()  # as ``snorky serve``

    async def serve(
        self, registry: ServiceRegistry, *, allowed_origins: Any, certificate: Any, **options: Any
    ) -> Served:
        route = SnorkyWebSocketHandler.get_route(registry, "/ws", allowed_origins=allowed_origins)
        application = Application([route], log_function=lambda handler: None)
        door = FrontDoor(application, [route], limits=registry.limits)
        listening = bind_sockets(0, "127.0.0.1")
        door.add_sockets(listening)

        async def stop() -> None:
            door.stop()
            await door.close_all_connections()

        return Served(f"ws://127.0.0.1:{listening[0].getsockname()[1]}/ws", stop)


class ForAClientInAnotherLanguage(TheFrontDoor):
    """Made from the page about the protocol alone."""

    program = FOLDER / "client.py"


class TheFrontDoorBehindTLS(TheFrontDoor):
    """It speaks no TLS itself: a proxy in front of it does."""

    tls = True
    kernel_bytes = 8 * 1024 * 1024  # the proxy's too

    async def serve(self, registry: ServiceRegistry, *, certificate: Any, **options: Any) -> Served:
        plain = await super().serve(registry, certificate=certificate, **options)
        port = urlsplit(plain.url).port
        assert port is not None
        relay = TLSRelay(certificate.server, port)
        await relay.start()

        async def stop() -> None:
            await relay.stop()
            await plain.stop()

        return Served(f"wss://127.0.0.1:{relay.port}/ws", stop, certificate.client)


class TestThroughTornado(EdgeContract):
    edge = Tornado()


class TestThroughTornadoWithTLS(EdgeContract):
    edge = TornadoWithTLS()


class TestThroughTheFrontDoor(EdgeContract):
    edge = TheFrontDoor()


class TestThroughTheFrontDoorBehindTLS(EdgeContract):
    edge = TheFrontDoorBehindTLS()


class TestForAClientInAnotherLanguage(EdgeContract):
    edge = ForAClientInAnotherLanguage()
