"""A site with SockJS under test, and clients that say exactly what a test tells them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import httpx2
import websockets
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from tests.lines import until
from tests.patience import patient

DEADLINE = patient(5.0)


class SockJSEcho(SnorkySockJSHandler):
    """The protocol's test service: what comes goes back, services know nothing of it."""

    def on_message(self, message: str) -> None:
        self.send(message)


class Refusing(SnorkySockJSHandler):
    """The protocol's other one."""

    def on_open(self, info: Any) -> bool:
        return False


class SockJSSite:
    """Serves SockJS at several paths; tests speak to it in HTTP."""

    def __init__(self, listen: Callable[..., int]) -> None:
        self._listen = listen
        self._ids = count()
        self.http = httpx2.AsyncClient(timeout=DEADLINE)

    def serve(self, *routes: Any, certificate: Any = None, **settings: Any) -> None:
        self._endpoints = {id(e): e for *_, options in routes if (e := options.get("endpoint"))}
        settings.setdefault("log_function", lambda handler: None)
        application = Application(list(routes), **settings)
        if certificate is None:
            self.port = self._listen(application)
            self.url = f"http://127.0.0.1:{self.port}"
        else:
            self.port = self._listen(application, ssl_options=certificate.server)
            self.url = f"https://127.0.0.1:{self.port}"
            self.http = httpx2.AsyncClient(timeout=DEADLINE, verify=certificate.client)

    def serve_echo(self, registry: ServiceRegistry | None = None, **options: Any) -> None:
        """At /echo, for everybody."""
        options.setdefault("allowed_origins", ["*"])
        registry = registry or ServiceRegistry()
        self.serve(*SockJSEcho.get_routes(registry, "/echo", **options))

    def new_session(self, path: str = "/echo") -> str:
        """The address of a session that nobody has opened yet."""
        return f"{path}/000/session{next(self._ids)}"

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, self.url + path, content=body, headers=named)

    async def get(self, path: str, **headers: str) -> Any:
        return await self.ask("GET", path, **headers)

    async def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return await self.ask("POST", path, body, **headers)

    async def open_session(self, path: str = "/echo", **headers: str) -> str:
        session = self.new_session(path)
        assert await self.poll(session, **headers) == "o\n"
        return session

    async def poll(self, session: str, **headers: str) -> str:
        response = await self.post(session + "/xhr", **headers)
        assert response.status_code == 200, response.text
        text: str = response.text
        return text

    def sessions(self) -> list[Any]:
        """Those that are kept, of all addresses."""
        return [s for endpoint in self._endpoints.values() for s in endpoint.sessions.values()]

    async def until_waiting(self, session: str) -> None:
        """Until a request waits for the frames of an open session."""
        session_id = session.rpartition("/")[2]
        await until(
            lambda: any(
                (found := endpoint.sessions.get(session_id)) and found.receiver
                for endpoint in self._endpoints.values()
            )
        )

    async def send(self, session: str, *messages: str, **headers: str) -> None:
        response = await self.post(session + "/xhr_send", json.dumps(messages), **headers)
        assert (response.status_code, response.content) == (204, b"")

    @asynccontextmanager
    async def streaming(self, method: str, path: str, **headers: str) -> AsyncIterator[Stream]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.stream(method, self.url + path, headers=named) as response:
            yield Stream(response)

    def connect(self, path: str, **options: Any) -> Any:
        return websockets.connect(f"ws://127.0.0.1:{self.port}{path}", **options)

    async def raw_request(
        self, path: str, *, method: str = "POST", version: str = "1.1", **options: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Ask without reading the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, **options)
        head = f"{method} {path} HTTP/{version}\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())
        return reader, writer


@asynccontextmanager
async def protocol_site(listen: Callable[..., int]) -> AsyncIterator[SockJSSite]:
    """The services that the tests of the protocol want, for everybody."""
    site = SockJSSite(listen)
    registry = ServiceRegistry()
    options: dict[str, Any] = {"allowed_origins": ["*"], "response_limit": 4096}
    site.serve(
        *SockJSEcho.get_routes(registry, "/echo", **options),
        *SockJSEcho.get_routes(registry, "/wsoff", websocket=False, **options),
        *SockJSEcho.get_routes(registry, "/cookie", jsessionid=True, **options),
        *Refusing.get_routes(registry, "/close", **options),
    )
    yield site
    await site.http.aclose()


class Stream:
    """A response that goes on."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self._bytes = response.aiter_raw()
        self._received = b""

    async def frame(self, end: bytes = b"\n") -> str:
        """The next piece, up to and with ``end``."""
        async with asyncio.timeout(DEADLINE):
            while end not in self._received:
                self._received += await anext(self._bytes)
        frame, _, self._received = self._received.partition(end)
        return (frame + end).decode()

    async def end(self) -> str:
        """What still comes before the server ends it."""
        async with asyncio.timeout(DEADLINE):
            async for piece in self._bytes:
                self._received += piece
        return self._received.decode()
