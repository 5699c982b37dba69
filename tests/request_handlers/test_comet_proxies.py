"""Event streams through proxies that do what they were asked not to: our client finds a way."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler

from snorky import ServiceRegistry
from snorky.request_handlers.comet import SnorkyCometHandler
from snorky.services.pubsub import PubSubService
from tests.edges.edge import OUR_CLIENT
from tests.edges.pages import Browser
from tests.lines import until


class Whole:
    """Passes on nothing but whole pieces of a kilobyte."""

    encoding = None

    def __init__(self) -> None:
        self._kept = b""

    def pass_on(self, data: bytes) -> bytes:
        self._kept += data
        size = len(self._kept) // 1024 * 1024
        passed, self._kept = self._kept[:size], self._kept[size:]
        return passed


class Squeezed:
    """Compresses, and keeps what would make the result longer."""

    encoding = "gzip"

    def __init__(self) -> None:
        self._gzip = zlib.compressobj(wbits=31)

    def pass_on(self, data: bytes) -> bytes:
        return self._gzip.compress(data)


class SqueezedAtOnce(Squeezed):
    """Compresses, and passes on all that has come."""

    def pass_on(self, data: bytes) -> bytes:
        return super().pass_on(data) + self._gzip.flush(zlib.Z_SYNC_FLUSH)


class Proxy(RequestHandler):
    """In front of a server: what it does to event streams is ``kind``'s business."""

    def initialize(self, upstream: httpx2.AsyncClient, kind: Callable[[], Any]) -> None:
        self.upstream = upstream
        self.kind = kind
        self.work: asyncio.Future[None] | None = None

    async def get(self) -> None:
        self.work = asyncio.ensure_future(self._relay())
        with suppress(asyncio.CancelledError, StreamClosedError):
            await self.work

    post = get

    async def _relay(self) -> None:
        request = self.request
        assert request.method is not None
        async with self.upstream.stream(
            request.method, request.uri, content=request.body
        ) as response:
            self.set_status(response.status_code)
            self.set_header("Content-Type", response.headers.get("Content-Type", "text/plain"))
            if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                await self.finish(await response.aread() or None)
                return
            kind = self.kind()
            if kind.encoding is not None:
                self.set_header("Content-Encoding", kind.encoding)
            async for data in response.aiter_raw():
                self.write(kind.pass_on(data))
                await self.flush()
            await self.finish()

    def on_connection_close(self) -> None:
        if self.work is not None:
            self.work.cancel()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    browser = await Browser.start(OUR_CLIENT)
    yield browser
    await browser.close()


@pytest.mark.parametrize(
    ("kind", "transport"), [(Whole, "polling"), (Squeezed, "polling"), (SqueezedAtOnce, "sse")]
)
async def test_messages_come_at_once_by_the_transport_that_works(
    kind: Callable[[], Any], transport: str, listen: Callable[..., int], browser: Browser
) -> None:
    pubsub = PubSubService("pubsub")
    registry = ServiceRegistry([pubsub])
    routes = SnorkyCometHandler.get_routes(registry, "/comet", disconnect_delay=1)
    quiet: dict[str, Any] = {"log_function": lambda handler: None}
    server = listen(Application(list(routes), **quiet))
    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{server}", timeout=None, trust_env=False
    ) as upstream:
        options = {"upstream": upstream, "kind": kind}
        port = listen(Application([(".*", Proxy, options)], **quiet))
        page = await browser.visit(
            f"http://127.0.0.1:{port}/comet",
            {
                "headers": {},
                "transports": ["sse", "polling"],
                "fallbackTimeout": 2 if transport == "polling" else 0,
                "reconnect": True,
            },
        )
        await page.until(lambda: page.opened)
        assert await browser.do("transport", page._name) == transport
        await page.call("pubsub", "subscribe", channel="news")
        for number in range(3):
            pubsub.do_publish("news", number)
            assert (await page.hears(number + 1, "pubsub"))[number]["message"] == number
        await page.leave()
        await until(lambda: not registry.clients)
