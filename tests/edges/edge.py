"""What the contract of the edges asks about each of them: how to serve it, how to come in.

An edge is served in the test's own loop, on a real socket. Most that is asked has an answer that
fits WebSocket; other edges override it.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from snorky import ServiceRegistry
from tests.conftest import Certificate
from tests.edges.pages import DEADLINE

FOLDER = Path(__file__).parent
OUR_CLIENT = FOLDER / "client.mjs"
RECEIVE_BUFFER_BYTES = 4096

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
}


class Ask(NamedTuple):
    """A request of HTTP."""

    method: str
    path: str
    body: str = ""
    headers: dict[str, str] = {}


@dataclass
class Served:
    """An edge at work."""

    url: str
    """Where its clients connect."""
    stop: Callable[[], Awaitable[None]]
    client_tls: ssl.SSLContext | None = None
    """For clients: None without TLS."""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def root(self) -> str:
        """Where plain HTTP goes, without a path."""
        url = urlsplit(self.url)
        return f"{url.scheme.replace('ws', 'http')}://{url.netloc}"

    async def sit_still(self, ask: Ask, behind: bytes = b"") -> None:
        """Ask, send what is ``behind`` the request, and read nothing of what comes."""
        url = urlsplit(self.url)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (url.hostname, url.port))
        tls: dict[str, Any] = {}
        if self.client_tls is not None:
            tls = {"ssl": self.client_tls, "server_hostname": url.hostname}
        _, writer = await asyncio.open_connection(sock=sock, limit=1024, **tls)
        self.writers.append(writer)
        writer.write(self._in_bytes(ask) + behind)

    async def ask_and_leave(self, ask: Ask) -> None:
        """Ask on a connection that has been used, and leave before the answer. Without TLS."""
        url = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(self._in_bytes(Ask("OPTIONS", ask.path)))
        async with asyncio.timeout(DEADLINE):
            await reader.readuntil(b"\r\n\r\n")
        writer.write(self._in_bytes(ask))
        writer.close()
        await writer.wait_closed()

    def _in_bytes(self, ask: Ask) -> bytes:
        host = urlsplit(self.url).netloc
        fields = {"Host": host, "Content-Length": str(len(ask.body)), **ask.headers}
        head = [f"{ask.method} {ask.path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
        return "\r\n".join([*head, "", ask.body]).encode()

    async def close(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        async with asyncio.timeout(DEADLINE):
            await self.stop()


class Edge(ABC):
    """One way in, with one client."""

    program: Path = OUR_CLIENT
    """What ``pages.Browser`` runs."""
    visit_options: dict[str, Any] = {}
    """Of every ``visit`` there."""
    opening = Ask("GET", "/ws", headers=UPGRADE)
    """The request that opens a connection."""
    sources: Sequence[str] = ("header", "cookie", "query")
    """How its client can say who it is."""
    takes_any_text: bool = True
    """False where what is no JSON ends the connection: it breaks the edge's own protocol."""
    refuses_in_http: bool = True
    """False where its client learns why it may not connect; else who asks in HTTP does."""
    tells_codes: bool = True
    """False where its client does not learn why the server closed the connection."""
    tls: bool = False
    kernel_bytes: int = 1024 * 1024
    """What the buffers of both systems, and of a server that is not ours, may swallow."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """What it runs on in earnest."""
        return asyncio.new_event_loop()

    @abstractmethod
    async def serve(
        self,
        registry: ServiceRegistry,
        *,
        allowed_origins: Sequence[str] | None,
        disconnect_delay: float,
        certificate: Certificate,
    ) -> Served:
        """``disconnect_delay`` is for edges whose clients may be away for a while, ``certificate``
        for those with TLS."""

    def visit(
        self, url: str, user: str | None, source: str, origin: str | None
    ) -> tuple[str, dict[str, Any]]:
        """Address and options of a visit by ``user``, from a page of ``origin``."""
        headers = {} if origin is None else {"Origin": origin}
        if user is not None and source == "header":
            headers["X-User"] = user
        elif user is not None and source == "cookie":
            headers["Cookie"] = f"user={user}"
        elif user is not None:
            url += f"?user={user}"
        return url, {**self.visit_options, "headers": headers}

    async def sit_still(self, served: Served, http: httpx2.AsyncClient) -> None:
        """Open a connection, and read nothing that comes by it."""
        await served.sit_still(self.opening)


class SessionEdge(Edge):
    """One whose clients are known by an id between their requests."""

    @abstractmethod
    async def session(self, http: httpx2.AsyncClient) -> list[Ask]:
        """Open a session by hand, and all that its client may ask for then.

        The first one tells the service ``notebook`` something.
        """


async def ask(http: httpx2.AsyncClient, asked: Ask, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with asyncio.timeout(DEADLINE):
        return await http.request(
            asked.method, asked.path, content=asked.body, headers={**asked.headers, **named}
        )


def serve_tornado(
    routes: Sequence[Any], address: str, certificate: Certificate | None = None
) -> Served:
    """Routes of Tornado's, as a program that calls ``listen`` serves them.

    ``address``: of the clients, as ``ws://{}/ws``.
    """
    tls = None if certificate is None else certificate.server
    application = Application(list(routes), log_function=lambda handler: None)
    server = HTTPServer(application, ssl_options=tls)
    listening = bind_sockets(0, "127.0.0.1")
    server.add_sockets(listening)

    async def stop() -> None:
        server.stop()
        await server.close_all_connections()

    url = address.format(f"127.0.0.1:{listening[0].getsockname()[1]}")
    return Served(url, stop, None if certificate is None else certificate.client)
