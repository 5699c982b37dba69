"""What runs inside an ASGI application keeps the contract of the edges, under uvicorn."""

from __future__ import annotations

from typing import Any

from snorky import ServiceRegistry
from snorky.asgi import SnorkyASGI
from tests.asgi.asgi_site import Site
from tests.contracts.edge import EdgeContract, SessionContract
from tests.edges.comet import LongPolling, ServerSentEvents
from tests.edges.edge import Edge, Served


class UnderUvicorn(Edge):
    kernel_bytes = 8 * 1024 * 1024  # the size of the socket's buffer is left to the system
    address = "ws://127.0.0.1:{}/ws"

    async def serve(
        self,
        registry: ServiceRegistry,
        *,
        allowed_origins: Any,
        disconnect_delay: float,
        certificate: Any,
    ) -> Served:
        app = SnorkyASGI(
            registry,
            allowed_origins=allowed_origins,
            comet_options={"disconnect_delay": disconnect_delay},
        )
        site = Site("uvicorn-auto")
        await site.start(app)
        return Served(self.address.format(site.port), site.stop)


class ServerSentEventsUnderUvicorn(UnderUvicorn, ServerSentEvents):
    address = "http://127.0.0.1:{}/comet"


class LongPollingUnderUvicorn(UnderUvicorn, LongPolling):
    address = "http://127.0.0.1:{}/comet"


class TestWebSocket(EdgeContract):
    edge = UnderUvicorn()


class TestServerSentEvents(SessionContract):
    edge = ServerSentEventsUnderUvicorn()


class TestLongPolling(SessionContract):
    edge = LongPollingUnderUvicorn()
