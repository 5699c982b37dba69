"""SockJS keeps the contract of the edges, with our client over its own, by each transport.

The raw WebSocket is for programs: there the client is the manual's, in Python.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx2

from snorky import ServiceRegistry
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from tests.contracts.edge import EdgeContract, SessionContract
from tests.edges.edge import FOLDER, UPGRADE, Ask, Edge, Served, SessionEdge, ask, serve_tornado

ALICE = {"X-User": "alice"}
SESSION = "/sockjs/000/by-hand"


class SockJS(Edge):
    program = FOLDER.parent / "sockjs_client" / "client.mjs"
    sources: Sequence[str] = ("header", "cookie")  # its addresses have no query
    address = "http://{}/sockjs"

    async def serve(self, registry: ServiceRegistry, *, certificate: Any, **options: Any) -> Served:
        routes = SnorkySockJSHandler.get_routes(registry, "/sockjs", **options)
        return serve_tornado(routes, self.address)


class OverWebSocket(SockJS):
    visit_options = {"transport": "websocket"}
    opening = Ask("GET", f"{SESSION}/websocket", headers=UPGRADE)


class OverRawWebSocket(SockJS):
    program = FOLDER / "client.py"
    sources = ("header", "cookie", "query")
    address = "ws://{}/sockjs/websocket"
    opening = Ask("GET", "/sockjs/websocket", headers=UPGRADE)


class OverHTTP(SockJS, SessionEdge):
    async def session(self, http: httpx2.AsyncClient) -> list[Ask]:
        assert (await ask(http, Ask("POST", f"{SESSION}/xhr", headers=ALICE))).text == "o\n"
        message = json.dumps({"service": "notebook", "message": "hello"})
        hello = json.dumps([message])
        asks = [
            Ask("POST", f"{SESSION}/xhr_send", hello),
            Ask("POST", f"{SESSION}/jsonp_send", hello),
            Ask("POST", f"{SESSION}/xhr"),
            Ask("POST", f"{SESSION}/xhr_streaming"),
            Ask("GET", f"{SESSION}/eventsource"),
            Ask("GET", f"{SESSION}/htmlfile?c=callback"),
            Ask("GET", f"{SESSION}/jsonp?c=callback"),
        ]
        return [asked._replace(headers=ALICE) for asked in asks]


class ByXHRStreaming(OverHTTP):
    visit_options = {"transport": "xhr-streaming"}
    opening = Ask("POST", f"{SESSION}/xhr_streaming")


class ByXHRPolling(OverHTTP):
    visit_options = {"transport": "xhr-polling"}
    opening = Ask("POST", f"{SESSION}/xhr")


class ByEventSource(OverHTTP):
    visit_options = {"transport": "eventsource"}
    opening = Ask("GET", f"{SESSION}/eventsource")


class TestOverWebSocket(EdgeContract):
    edge = OverWebSocket()


class TestOverRawWebSocket(EdgeContract):
    edge = OverRawWebSocket()


class TestByXHRStreaming(SessionContract):
    edge = ByXHRStreaming()


class TestByXHRPolling(SessionContract):
    edge = ByXHRPolling()


class TestByEventSource(SessionContract):
    edge = ByEventSource()
