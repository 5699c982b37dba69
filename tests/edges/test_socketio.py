"""Socket.IO keeps the contract of the edges, with its own client, by each transport."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from websockets.frames import Opcode

from snorky import ServiceRegistry
from snorky.request_handlers.socketio import SnorkySocketIOHandler
from tests.contracts.edge import EdgeContract, SessionContract
from tests.edges.edge import FOLDER, UPGRADE, Ask, Edge, Served, SessionEdge, ask, serve_tornado
from tests.edges.site import Site
from tests.lines import masked

PATH = "/socket.io/?EIO=4&transport="
CONNECT = "40"


class SocketIO(Edge):
    program = FOLDER.parent / "socketio" / "client.mjs"
    sources = ("header", "cookie", "query", "auth")
    refuses_in_http = False
    takes_any_text = False
    tells_codes = False

    async def serve(
        self,
        registry: ServiceRegistry,
        *,
        allowed_origins: Any,
        disconnect_delay: float,
        **options: Any,
    ) -> Served:
        route = SnorkySocketIOHandler.get_route(
            registry,
            allowed_origins=allowed_origins,
            ping_interval=disconnect_delay / 2,
            ping_timeout=disconnect_delay / 2,
        )
        return serve_tornado([route], "http://{}")

    def visit(
        self, url: str, user: str | None, source: str, origin: str | None
    ) -> tuple[str, dict[str, Any]]:
        own = user is not None and source in ("query", "auth")
        address, options = super().visit(url, None if own else user, source, origin)
        return address, {**options, source: {"user": user}} if own else options


class OverWebSocket(SocketIO):
    visit_options = {"transports": ["websocket"]}
    opening = Ask("GET", PATH + "websocket", headers=UPGRADE)

    async def sit_still(self, served: Served, http: httpx2.AsyncClient) -> None:
        await served.sit_still(self.opening, masked(Opcode.TEXT, CONNECT.encode()))


class FromPollingToWebSocket(OverWebSocket):
    """As clients do by themselves: the one goes over to the other while messages are under way."""

    visit_options = {}


class ByPolling(SocketIO, SessionEdge):
    visit_options = {"transports": ["polling"]}
    opening = Ask("GET", PATH + "polling")

    async def session(self, http: httpx2.AsyncClient) -> list[Ask]:
        path = await self.connect(http)
        event = json.dumps(["notebook", "hello"])
        upgrade = path.replace("polling", "websocket")
        return [
            Ask("POST", path, f"42{event}"),
            Ask("GET", path),
            Ask("GET", upgrade, headers=UPGRADE),
        ]

    async def sit_still(self, served: Served, http: httpx2.AsyncClient) -> None:
        await served.sit_still(Ask("GET", await self.connect(http)))

    async def connect(self, http: httpx2.AsyncClient) -> str:
        """Where a session that is connected to the services polls."""
        opened = await ask(http, self.opening)
        path = f"{self.opening.path}&sid={json.loads(opened.text[1:])['sid']}"
        assert (await ask(http, Ask("POST", path, CONNECT))).text == "ok"
        assert (await ask(http, Ask("GET", path))).text.startswith(CONNECT)
        return path


class TestOverWebSocket(EdgeContract):
    edge = OverWebSocket()


class TestFromPollingToWebSocket(EdgeContract):
    edge = FromPollingToWebSocket()


class TestByPolling(SessionContract):
    edge = ByPolling()

    @pytest.mark.xfail(
        strict=True, reason="who knows the id of a Socket.IO session has the session"
    )
    async def test_somebody_else_cannot_use_a_session(self, site: Site) -> None:
        # Identity is asked for once, when a page connects to a namespace: ``auth`` comes only then.
        await super().test_somebody_else_cannot_use_a_session(site)
