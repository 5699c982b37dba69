"""Services over an ASGI server's WebSockets, under every server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
import websockets

from snorky import ServiceRegistry
from snorky.asgi import ASGIHandshake, SnorkyASGI
from snorky.client import Client
from snorky.identity import Handshake, Refused
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.services.base import Service
from snorky.services.datasync import DataSyncBackend, DataSyncService
from snorky.services.datasync.dealers import SimpleDealer
from snorky.services.pubsub import PubSubService
from tests.asgi.asgi_site import DEADLINE, Site
from tests.docs.test_examples import Page
from tests.request_handlers.websocket_site import Echo, closed, received, said


async def test_a_call_is_answered_and_a_publication_arrives(site: Site) -> None:
    await site.start(SnorkyASGI(ServiceRegistry([PubSubService("pubsub")])))
    async with site.connect() as one, site.connect() as two:
        assert await Page(one).call("pubsub", "subscribe", channel="news") is None
        assert await Page(one).call("pubsub", "subscribe", channel="news") == "Already subscribed"
        await Page(two).call("pubsub", "publish", channel="news", message="¡Hola!")
        notification = {"type": "message", "channel": "news", "message": "¡Hola!"}
        assert await Page(one).receive() == notification


async def test_every_subscriber_gets_a_broadcast_in_order(site: Site) -> None:
    pubsub = PubSubService("pubsub")
    await site.start(SnorkyASGI(ServiceRegistry([pubsub])))
    pages = [Page(await site.connect()) for _ in range(10)]
    for page in pages:
        await page.call("pubsub", "subscribe", channel="news")
    for number in range(200):
        pubsub.do_publish("news", number)
    for page in pages:
        assert [(await page.receive())["message"] for _ in range(200)] == list(range(200))
        await page.socket.close()


async def test_binary_messages_are_messages_too(site: Site) -> None:
    await site.start(SnorkyASGI(ServiceRegistry([Echo()])))
    async with site.connect() as socket:
        await socket.send(b'{"service": "echo", "message": 1}')
        assert await received(socket) == {"service": "echo", "message": 1}


async def test_garbage_is_dropped_with_a_warning_and_the_connection_stays(
    site: Site, expect_log: Any
) -> None:
    await site.start(SnorkyASGI(ServiceRegistry([Echo()])))
    async with site.connect() as socket:
        await socket.send("{")
        await socket.send('{"service": "nothing", "message": 1}')
        assert await said(socket, "still here") == "still here"
    expect_log("Invalid JSON from client 127.0.0.1: {")
    expect_log('Message for non existing service "nothing"')


async def test_who_leaves_is_noticed(site: Site) -> None:
    echo = Echo()
    registry = ServiceRegistry([echo])
    await site.start(SnorkyASGI(registry))
    before = metrics.clients
    polite, rude = await site.connect(), await site.connect()
    await said(polite, 1)
    await said(rude, 1)
    assert metrics.clients == before + 2
    await polite.close()
    async with asyncio.timeout(DEADLINE):
        assert (await echo.left.get()).connected is False
    rude.transport.abort()
    async with asyncio.timeout(DEADLINE):
        gone = await echo.left.get()
    gone.send("nobody hears this")
    assert (registry.clients, metrics.clients, gone.unsent_bytes) == (set(), before, 0)


async def test_a_service_closes_with_code_and_reason_behind_what_it_has_sent(site: Site) -> None:
    class Porter(Service):
        def process_message_from(self, client: Client, msg: Any) -> None:
            self.send_message_to(client, "Closing time")
            client.close(4001, "good night")
            client.close(4002, "twice")
            self.send_message_to(client, "nobody hears this")

    await site.start(SnorkyASGI(ServiceRegistry([Porter("porter")])))
    async with site.connect() as socket:
        await socket.send('{"service": "porter", "message": null}')
        assert (await received(socket))["message"] == "Closing time"
        assert await closed(socket) == (4001, "good night")


async def test_a_service_that_fails_on_arrival_costs_the_connection(
    site: Site, expect_log: Any
) -> None:
    class Faulty(Echo):
        def client_connected(self, client: Client) -> None:
            raise ZeroDivisionError("out of order")

    faulty = Faulty()
    await site.start(SnorkyASGI(ServiceRegistry([faulty])))
    async with site.connect() as socket:
        assert await closed(socket) == (1011, "internal error")
        async with asyncio.timeout(DEADLINE):
            await faulty.left.get()
    expect_log("Unhandled exception while connecting 127.0.0.1")


@pytest.mark.usefixtures("refused_pages")
async def test_pages_of_other_sites_are_refused(site: Site) -> None:
    allowed = ["https://app.example"]
    await site.start(SnorkyASGI(ServiceRegistry([Echo()]), allowed_origins=allowed))
    refused = metrics.clients_refused
    with pytest.raises(websockets.InvalidStatus) as error:
        await site.connect(origin="https://evil.example")
    assert error.value.response.status_code == 403
    body = error.value.response.body
    assert body == b"Cross origin websockets not allowed: https://evil.example"
    assert metrics.clients_refused == refused + 1
    for origin in ("https://app.example", "http://127.0.0.1:8000", None):
        async with site.connect(origin=origin) as socket:
            assert await said(socket, 1) == 1


async def test_identity_is_decided_before_anyone_comes_in(site: Site, expect_log: Any) -> None:
    seen: list[Handshake] = []

    async def authenticate(handshake: Handshake) -> str:
        seen.append(handshake)
        token = handshake.arguments.get("token", [""])[0]
        if token == "broken":
            raise ZeroDivisionError("out of order")
        if not token:
            raise Refused(401, "Please log in")
        return token

    echo = Echo(greeting="Welcome")
    await site.start(SnorkyASGI(ServiceRegistry([echo], authenticate=authenticate)))
    for query, status, reason in [
        ("", 401, b"Please log in"),
        ("?token=broken", 500, b"Internal error"),
    ]:
        with pytest.raises(websockets.InvalidStatus) as error:
            await site.connect(f"/ws{query}")
        assert (error.value.response.status_code, error.value.response.body) == (status, reason)
    expect_log("Unhandled exception while authenticating 127.0.0.1")
    cookies = {"Cookie": 'theme=dark; name="Ana"; nonsense'}
    async with site.connect("/ws?token=ana", additional_headers=cookies) as socket:
        assert (await received(socket))["message"] == ["Welcome", "ana"]
    handshake = seen[-1]
    assert isinstance(handshake, ASGIHandshake)
    assert (handshake.path, handshake.remote_address) == ("/ws", "127.0.0.1")
    assert (handshake.cookies, handshake.secure) == ({"theme": "dark", "name": "Ana"}, False)
    assert handshake.scope["type"] == "websocket"
    assert len(echo.clients) == 1


async def test_authentication_that_takes_too_long_is_a_refusal(uvicorn_site: Site) -> None:
    async def authenticate(handshake: Handshake) -> None:
        await asyncio.Event().wait()

    limits = Limits(handshake_timeout=0.05)
    registry = ServiceRegistry([], authenticate=authenticate, limits=limits)
    await uvicorn_site.start(SnorkyASGI(registry))
    with pytest.raises(websockets.InvalidStatus) as error:
        await uvicorn_site.connect()
    assert error.value.response.status_code == 503


async def test_heartbeats_are_answered_where_the_subprotocol_was_offered(site: Site) -> None:
    await site.start(SnorkyASGI(ServiceRegistry([Echo()])))
    async with site.connect(subprotocols=["other", "snorky"]) as socket:
        assert socket.subprotocol == "snorky"
        for heartbeat in ("", " "):  # some servers lose empty texts
            await socket.send(heartbeat)
            async with asyncio.timeout(DEADLINE):
                assert await socket.recv() == heartbeat


async def test_deltas_reach_whom_they_concern(site: Site) -> None:
    class TasksOf(SimpleDealer):
        model = "Task"

        def get_key_for_model(self, row: Any) -> Any:
            return row["owner"]

    datasync = DataSyncService("datasync", [TasksOf])
    backend = DataSyncBackend("datasync_backend", datasync)
    await site.start(SnorkyASGI(ServiceRegistry([datasync]), ServiceRegistry([backend]), "key"))

    async def ask(command: str, **params: Any) -> Any:
        message = {"command": command, "params": params, "callId": 1}
        text = json.dumps({"service": "datasync_backend", "message": message})
        async with httpx2.AsyncClient(headers={"X-Backend-Key": "key"}) as client:
            response = await client.post(f"{site.url}/backend", content=text)
        return response.json()["message"]["data"]

    token = await ask("authorizeSubscription", items=[{"dealer": "TasksOf", "query": "ana"}])
    async with site.connect() as socket:
        assert await Page(socket).call("datasync", "acquireSubscription", token=token) is None
        for owner in ("bob", "ana"):
            delta = {"type": "insert", "model": "Task", "data": {"owner": owner}}
            await ask("publishDeltas", deltas=[delta])
        assert await Page(socket).receive() == {"type": "delta", "delta": delta}


async def test_the_server_s_end_is_the_clients_end(uvicorn_site: Site) -> None:
    site, echo = uvicorn_site, Echo()
    await site.start(SnorkyASGI(ServiceRegistry([echo])))
    async with site.connect() as socket:
        await said(socket, 1)
        await site.stop()
        await closed(socket)
        async with asyncio.timeout(DEADLINE):
            await echo.left.get()
