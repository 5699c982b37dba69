"""Server-Sent Events and long polling through Tornado keep the contract, with our own client."""

from __future__ import annotations

from typing import Any

from snorky import ServiceRegistry
from snorky.request_handlers.comet import SnorkyCometHandler
from tests.contracts.edge import SessionContract
from tests.edges.comet import LongPolling, ServerSentEvents
from tests.edges.edge import Edge, Served, serve_tornado


class ThroughTornado(Edge):
    async def serve(self, registry: ServiceRegistry, *, certificate: Any, **options: Any) -> Served:
        routes = SnorkyCometHandler.get_routes(registry, "/comet", **options)
        return serve_tornado(routes, "http://{}/comet")


class ServerSentEventsThroughTornado(ThroughTornado, ServerSentEvents):
    pass


class LongPollingThroughTornado(ThroughTornado, LongPolling):
    pass


class TestServerSentEvents(SessionContract):
    edge = ServerSentEventsThroughTornado()


class TestLongPolling(SessionContract):
    edge = LongPollingThroughTornado()
