"""The manual's story over real sockets: web application, browser, Snorky between them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application
from websockets.asyncio.client import ClientConnection, connect

from snorky import ServiceRegistry
from snorky.request_handlers.http import BackendHTTPHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.datasync import DataSyncBackend, DataSyncService, FilterDealer
from tests.patience import patient

BLUE = ["==", "color", "blue"]
DEADLINE = patient(10)


class Players(FilterDealer):
    model = "Player"


class Server:
    def __init__(self, listen: Any) -> None:
        self.datasync = DataSyncService("datasync", [Players])
        backend = DataSyncBackend("datasync_backend", self.datasync)
        application = Application(
            [
                SnorkyWebSocketHandler.get_route(ServiceRegistry([self.datasync]), "/ws"),
                (
                    "/backend",
                    BackendHTTPHandler,
                    {"service_registry": ServiceRegistry([backend]), "api_key": "swordfish"},
                ),
            ]
        )
        self.port = listen(application)

    def connect(self) -> connect:
        return connect(f"ws://127.0.0.1:{self.port}/ws")

    async def post(self, command: str, **params: Any) -> Any:
        response = await AsyncHTTPClient().fetch(
            f"http://127.0.0.1:{self.port}/backend",
            method="POST",
            headers={"X-Backend-Key": "swordfish"},
            body=json.dumps(
                {
                    "service": "datasync_backend",
                    "message": {"command": command, "params": params, "callId": 1},
                }
            ),
        )
        message = json.loads(response.body)["message"]
        assert message["type"] == "response", message
        return message["data"]

    async def authorize(self, query: Any) -> Any:
        items = [{"dealer": "Players", "query": query}]
        return await self.post("authorizeSubscription", items=items)


async def acquire(page: ClientConnection, token: str) -> None:
    message = {"command": "acquireSubscription", "params": {"token": token}, "callId": 0}
    await page.send(json.dumps({"service": "datasync", "message": message}))


async def receive(page: ClientConnection) -> Any:
    envelope = json.loads(await asyncio.wait_for(page.recv(), DEADLINE))
    assert envelope["service"] == "datasync"
    return envelope["message"]


@pytest.mark.usefixtures("each_fanout")
async def test_a_page_hears_of_every_change_since_its_token(listen: Any, delta: Any) -> None:
    server = Server(listen)
    rows = [{"n": number, "color": "blue"} for number in range(150)]
    async with server.connect() as page, server.connect() as early_page:
        await acquire(early_page, await server.authorize(BLUE))
        assert (await receive(early_page))["type"] == "response"

        token = await server.authorize(BLUE)
        await server.post("publishDeltas", deltas=[delta.insert(row) for row in rows[:50]])
        await acquire(page, token)
        for row in rows[:50]:
            assert (await receive(page))["delta"] == delta.insert(row)
        assert await receive(page) == {"type": "response", "callId": 0, "data": None}

        await server.post("publishDeltas", deltas=[delta.insert(row) for row in rows[50:]])
        for row in rows[50:]:
            assert (await receive(page))["delta"] == delta.insert(row)
        for row in rows:
            assert (await receive(early_page))["delta"] == delta.insert(row)


@pytest.mark.usefixtures("each_fanout")
async def test_a_page_that_leaves_takes_its_subscriptions_with_it(listen: Any, delta: Any) -> None:
    server = Server(listen)
    left = asyncio.Event()

    class Witness(Players):
        name = "Witness"

        def remove_subscription_item(self, item: Any) -> None:
            super().remove_subscription_item(item)
            left.set()

    dealer = server.datasync.register_dealer(Witness())
    items = [{"dealer": "Witness", "query": BLUE}]
    async with server.connect() as page, server.connect() as other_page:
        for one in (page, other_page):
            await acquire(one, await server.post("authorizeSubscription", items=items))
            assert (await receive(one))["type"] == "response"
        await page.close()
        await asyncio.wait_for(left.wait(), DEADLINE)
        assert len(list(dealer.get_subscription_items_for_model({"color": "blue"}))) == 1
        await server.post("publishDeltas", deltas=[delta.insert({"color": "blue"})])
        assert (await receive(other_page))["delta"] == delta.insert({"color": "blue"})
