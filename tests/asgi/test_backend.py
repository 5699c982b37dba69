"""The back end over ASGI answers as the one over Tornado does."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from snorky import ServiceRegistry
from snorky.asgi import SnorkyASGI
from snorky.backend.aio import SnorkyBackend, SnorkyHTTPTransport
from snorky.identity import Refused
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.services.base import Service
from snorky.services.pubsub import PubSubBackend, PubSubService
from tests.asgi.asgi_site import DEADLINE, Site
from tests.docs.test_examples import Page
from tests.request_handlers.http_backend import Desk, Echo, Faulty, Silent

KEY = "swordfish"


async def post(site: Site, body: Any, key: str | None = KEY, method: str = "POST") -> Any:
    headers: Any = {} if key is None else {"X-Backend-Key": key.encode()}
    content = body if isinstance(body, bytes | AsyncIterator) else json.dumps(body).encode()
    async with httpx2.AsyncClient(timeout=DEADLINE) as client:
        url = f"{site.url}/backend"
        return await client.request(method, url, content=content, headers=headers)


async def start(site: Site, key: Any = KEY, *, most: int = 1000, **limits: Any) -> None:
    services = [Echo("echo"), Desk("desk"), Silent("silent"), Faulty("faulty")]
    registry = ServiceRegistry(services, limits=Limits(max_backend_message_bytes=most, **limits))
    await site.start(SnorkyASGI(None, registry, key))


async def test_one_envelope_in_one_out(site: Site) -> None:
    await start(site)
    response = await post(site, {"service": "echo", "message": "¡Hola!"})
    assert response.status_code == 200
    assert response.json() == {"service": "echo", "message": "¡Hola!"}
    assert response.headers["Content-Type"] == "application/json; charset=UTF-8"
    message = {"command": "refuse", "params": {}, "callId": 7}
    answer = (await post(site, {"service": "desk", "message": message})).json()["message"]
    assert answer == {"type": "error", "callId": 7, "message": "Closed"}


async def test_the_page_hears_what_the_back_end_publishes(site: Site) -> None:
    pubsub = PubSubService("pubsub")
    backend = ServiceRegistry([PubSubBackend("pubsub_backend", pubsub)])
    await site.start(SnorkyASGI(ServiceRegistry([pubsub]), backend, KEY))
    transport = SnorkyHTTPTransport(f"{site.url}/backend", KEY)
    async with site.connect() as socket, transport:
        await Page(socket).call("pubsub", "subscribe", channel="news")
        await SnorkyBackend(transport).call("pubsub_backend", "publish", channel="news", message=1)
        assert (await Page(socket).receive())["message"] == 1


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (None, "Missing X-Backend-Key header"),
        ("", "Invalid API key"),
        ("wrong", "Invalid API key"),
        ("é", "Invalid API key"),
    ],
)
async def test_without_the_key_nobody_comes_in(site: Site, key: str | None, text: str) -> None:
    await start(site)
    refused = metrics.backend_refused
    response = await post(site, {"service": "echo", "message": 1}, key)
    assert (response.status_code, response.json()) == (401, {"error": text})
    assert metrics.backend_refused == refused + 1


async def test_any_of_several_keys_opens(uvicorn_site: Site) -> None:
    await start(uvicorn_site, ["old", "ñu"])
    for key in ("old", "ñu"):
        assert (await post(uvicorn_site, {"service": "echo", "message": 1}, key)).is_success


async def test_a_subclass_may_check_the_key_elsewhere(uvicorn_site: Site) -> None:
    class Elsewhere(SnorkyASGI):
        async def check_api_key(self, api_key: str) -> None:
            await asyncio.sleep(0)
            if api_key != "open sesame":
                raise Refused(403, "Not here")

    await uvicorn_site.start(Elsewhere(None, ServiceRegistry([Echo("echo")]), KEY))
    message = {"service": "echo", "message": 1}
    assert (await post(uvicorn_site, message)).status_code == 403
    assert (await post(uvicorn_site, message, "open sesame")).is_success


@pytest.mark.parametrize(
    ("body", "status", "text", "logged"),
    [
        (b"{", 400, "Invalid JSON", None),
        (b"\xff", 400, "Invalid JSON", None),
        (b"[]", 400, "Malformed message from client 127.0.0.1: []", "Malformed message"),
        (
            b'{"service": "none", "message": 1}',
            400,
            'Message for non existing service "none" from client 127.0.0.1',
            "Message for non existing",
        ),
        (b"x" * 1001, 413, "Expected at most 1000 bytes", None),
    ],
)
async def test_what_is_no_message_is_refused(
    site: Site, body: bytes, status: int, text: str, logged: str | None, expect_log: Any
) -> None:
    await start(site)
    response = await post(site, body)
    assert (response.status_code, response.json()) == (status, {"error": text})
    if logged:
        expect_log(logged)


async def test_only_post_is_allowed(site: Site) -> None:
    await start(site)
    response = await post(site, b"", method="PUT")
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert response.json() == {"error": "Method Not Allowed"}


@pytest.mark.parametrize(("key", "status"), [(KEY, 413), ("wrong", 401)])
async def test_the_refusal_arrives_also_where_the_sender_sends_all_before_it_listens(
    site: Site, key: str, status: int
) -> None:
    await start(site, most=1_000_000)
    head = f"POST /backend HTTP/1.1\r\nHost: localhost\r\nX-Backend-Key: {key}\r\n"

    def send_all() -> bytes:
        with socket.create_connection(("127.0.0.1", site.port), DEADLINE) as sender:
            sender.sendall(f"{head}Content-Length: 15000000\r\n\r\n".encode())
            sender.sendall(b"x" * 15_000_000)
            return sender.recv(12)

    assert await asyncio.to_thread(send_all) == f"HTTP/1.1 {status}".encode()


async def test_a_body_that_does_not_say_how_long_it_is_is_bounded_too(site: Site) -> None:
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(10):
            sent += 500
            yield b"x" * 500

    await start(site)
    response = await post(site, pieces())
    assert (response.status_code, sent) == (413, 5000)


async def test_a_service_that_does_not_answer_in_time(site: Site) -> None:
    await start(site, backend_timeout=0.05)
    response = await post(site, {"service": "silent", "message": 1})
    assert response.status_code == 504
    assert response.json() == {"error": "The service did not answer in time"}


async def test_a_request_that_does_not_come_in_time(uvicorn_site: Site) -> None:
    await start(uvicorn_site, backend_timeout=0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", uvicorn_site.port)
    writer.write(
        b"POST /backend HTTP/1.1\r\nHost: localhost\r\nX-Backend-Key: swordfish\r\n"
        b"Content-Length: 100\r\n\r\n{"
    )
    async with asyncio.timeout(DEADLINE):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_service_that_fails(site: Site, expect_log: Any) -> None:
    await start(site)
    response = await post(site, {"service": "faulty", "message": 1})
    assert response.status_code == 500
    expect_log('Unhandled exception in service "faulty"')


async def test_a_sender_that_leaves_is_noticed(site: Site) -> None:
    class Slow(Service):
        def __init__(self) -> None:
            super().__init__("slow")
            self.asked: asyncio.Queue[Any] = asyncio.Queue()

        def process_message_from(self, client: Any, msg: Any) -> None:
            self.asked.put_nowait(client)

    slow = Slow()
    await site.start(SnorkyASGI(None, ServiceRegistry([slow]), KEY))
    asking = asyncio.create_task(post(site, {"service": "slow", "message": 1}))
    async with asyncio.timeout(DEADLINE):
        client = await slow.asked.get()
        assert client.connected
        asking.cancel()
        while client.connected:
            await asyncio.sleep(0.001)
