"""CancelledError out of the code of an application is a fault like others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import websockets
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.identity import Handshake
from snorky.request_handlers.comet import SnorkyCometHandler
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from tests.conftest import ExpectLog
from tests.lines import until


def cancelled() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    return future


async def authenticate(handshake: Handshake) -> None:
    await cancelled()


@pytest.mark.parametrize("path", ["/ws", "/comet", "/sockjs/0/a/xhr", "/sockjs/websocket"])
async def test_who_cannot_be_checked_is_told(
    open_front_door: Callable[..., Any], path: str, expect_log: ExpectLog
) -> None:
    registry = ServiceRegistry(authenticate=authenticate)
    route = SnorkyWebSocketHandler.get_route(registry, "/ws")
    routes = [
        route,
        *SnorkyCometHandler.get_routes(registry, "/comet"),
        *SnorkySockJSHandler.get_routes(registry, "/sockjs"),
    ]
    application = Application(routes, log_function=lambda handler: None)
    door, port = open_front_door(application, [route])
    if path in ("/ws", "/sockjs/websocket"):
        with pytest.raises(websockets.InvalidStatus, match="500"):
            await websockets.connect(f"ws://127.0.0.1:{port}{path}")
    else:
        async with httpx2.AsyncClient() as http:
            assert (await http.post(f"http://127.0.0.1:{port}{path}")).status_code == 500
    await until(lambda: door.connections == 0)
    expect_log("Unhandled exception while authenticating 127.0.0.1")


class Unlucky(ServiceRegistry):
    """Its clients' hooks ask futures that were cancelled."""

    at = ""

    def client_connected(self, client: Any) -> None:
        super().client_connected(client)
        if self.at == "connecting":
            cancelled().result()

    def client_disconnected(self, client: Any) -> None:
        super().client_disconnected(client)
        if self.at == "disconnecting":
            cancelled().result()

    def process_message_raw(self, client: Any, text: Any) -> None:
        cancelled().result()


@pytest.mark.parametrize(
    ("get_routes", "opening", "sending", "body"),
    [
        (
            SnorkyCometHandler.get_routes,
            "",
            "/messages?session={}",
            '{"first": 1, "messages": ["1"]}',
        ),
        (SnorkySockJSHandler.get_routes, "/0/a/xhr", "/0/a/xhr_send", '["1"]'),
    ],
    ids=["comet", "sockjs"],
)
@pytest.mark.parametrize("at", ["connecting", "a message", "disconnecting"])
async def test_a_session_ends_and_nothing_else(
    listen: Callable[..., int],
    get_routes: Callable[..., list[Any]],
    opening: str,
    sending: str,
    body: str,
    at: str,
    expect_log: ExpectLog,
) -> None:
    registry = Unlucky()
    registry.at = at
    routes = get_routes(registry, "/at", disconnect_delay=0.1)
    endpoint = routes[0][2]["endpoint"]
    url = f"http://127.0.0.1:{listen(Application(routes, log_function=lambda _: None))}/at"
    async with httpx2.AsyncClient() as http:
        assert (await http.post(url + opening)).status_code == 200
        ((session_id, session),) = endpoint.sessions.items()
        if at == "a message":
            answer = await http.post(url + sending.format(session_id), content=body)
            assert answer.status_code in (200, 204)
        await until(lambda: session.closed)
        await until(lambda: not registry.clients and not endpoint.sessions)
    expect_log("Unhandled exception")
