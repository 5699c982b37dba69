"""A site with Comet under test, and clients that say exactly what a test tells them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from starlette.middleware.gzip import GZipMiddleware
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.asgi import SnorkyASGI
from snorky.edges.comet.sessions import CometOptions, Endpoint
from snorky.request_handlers.comet import SnorkyCometHandler
from tests.asgi.asgi_site import Site
from tests.patience import patient

DEADLINE = patient(20.0)

DOORS = ["tornado", "uvicorn-auto", "hypercorn"]


class CometSite:
    """Comet at ``/comet``, through one of the doors: ``DOORS``."""

    def __init__(self, door: str, listen: Callable[..., int]) -> None:
        self._door = door
        self._listen = listen
        self._server: Site | None = None
        self.http = httpx2.AsyncClient(timeout=DEADLINE)

    async def serve(
        self, registry: ServiceRegistry, *, compress: bool = False, **options: Any
    ) -> None:
        if self._door == "tornado":
            routes = SnorkyCometHandler.get_routes(registry, "/comet", **options)
            self.endpoint: Endpoint = routes[0][2]["endpoint"]
            settings = {"log_function": lambda handler: None, "compress_response": compress}
            self.port = self._listen(Application(list(routes), **settings))
        else:
            origins = options.pop("allowed_origins", None)
            comet_options = CometOptions(**options)
            app = SnorkyASGI(registry, allowed_origins=origins, comet_options=comet_options)
            assert app.comet is not None
            self.endpoint = app.comet.endpoint
            self._server = Site(self._door)
            await self._server.start(GZipMiddleware(app) if compress else app)
            self.port = self._server.port
        self.url = f"http://127.0.0.1:{self.port}/comet"

    async def stop(self) -> None:
        await self.http.aclose()
        if self._server is not None:
            await self._server.stop()

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, self.url + path, content=body, headers=named)

    async def open(self, **headers: str) -> str:
        """A session: the query that names it."""
        response = await self.ask("POST", "", **headers)
        assert response.status_code == 200, response.text
        return "?session=" + str(response.json()["session"])

    async def poll(self, session: str, after: int = 0, **headers: str) -> Any:
        response = await self.ask("GET", f"/poll{session}&after={after}", **headers)
        assert response.status_code == 200, response.text
        return response.json()

    async def post(self, session: str, first: int, *messages: Any, **headers: str) -> Any:
        """Messages for the service ``echo``."""
        texts = [json.dumps({"service": "echo", "message": m}) for m in messages]
        body = json.dumps({"first": first, "messages": texts})
        return await self.ask("POST", "/messages" + session, body, **headers)

    @asynccontextmanager
    async def events(
        self, session: str, after: int = 0, **headers: str
    ) -> AsyncIterator[EventStream]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.url}/events{session}&after={after}"
        async with self.http.stream("GET", url, headers=named) as response:
            assert response.status_code == 200, await response.aread()
            stream = EventStream(response)
            assert (await stream.next())[:1] == ":"  # padding
            assert await stream.next() == "event: open\ndata:"
            yield stream

    async def request_raw(
        self, method: str, path: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Ask without reading the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1024)
        head = f"{method} /comet{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())
        return reader, writer


class EventStream:
    def __init__(self, response: Any) -> None:
        self.response = response
        self._texts = response.aiter_text()
        self._received = ""

    async def next(self) -> str:
        async with asyncio.timeout(DEADLINE):
            while "\n\n" not in self._received:
                self._received += await anext(self._texts)
        event, _, self._received = self._received.partition("\n\n")
        return str(event)

    async def message(self) -> tuple[int, Any]:
        """The next message: its number and what ``echo`` said."""
        number, data = (await self.next()).split("\n")
        return int(number.removeprefix("id: ")), json.loads(data.removeprefix("data: "))["message"]

    async def end(self) -> str:
        async with asyncio.timeout(DEADLINE):
            async for text in self._texts:
                self._received += text
        return self._received
