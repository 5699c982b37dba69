"""Comet through Tornado: Server-Sent Events and long polling, where no WebSocket comes through.

What is asked and answered is in ``snorky.edges.comet``; here it is read and written.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Unpack, cast

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler, stream_request_body

from snorky.edges.comet.requests import (
    ACTIONS,
    READ_PAST_LIMIT,
    HeaderFields,
    Inquiry,
    allowed_methods,
)
from snorky.edges.comet.sessions import CometClient, CometOptions, Endpoint
from snorky.edges.handshakes import REFUSAL_TYPE
from snorky.identity import Handshake, Refused, origin_allowed
from snorky.request_handlers.requests import (
    end_with_the_connection,
    ends_with_the_connection,
    handshake_of,
)
from snorky.request_handlers.tornado_internals import LogsNoQuery, reason_of
from snorky.service_registry import ServiceRegistry

__all__ = ["CometClient", "SnorkyCometHandler"]

Route = tuple[str, type[RequestHandler], dict[str, Any]]


class SnorkyCometHandler:
    """The services of a registry by Server-Sent Events and long polling."""

    @classmethod
    def get_routes(
        cls,
        service_registry: ServiceRegistry,
        path: str = "/comet",
        *,
        allowed_origins: Sequence[str] | None = None,
        **options: Unpack[CometOptions],
    ) -> list[Route]:
        """The routes for ``tornado.web.Application``; clients connect to ``path``.

        ``allowed_origins``: see ``snorky.identity.origin_allowed``; holds for every request.
        ``options``: see ``snorky.edges.comet.sessions.Endpoint``.
        """

        def check_origin(handshake: Handshake) -> bool:
            return origin_allowed(handshake.origin, handshake.host, allowed_origins)

        endpoint = Endpoint(registry=service_registry, check_origin=check_origin, **options)
        base = re.escape(path.rstrip("/"))
        return [
            (base + (name or "/?"), CometRequestHandler, {"endpoint": endpoint, "name": name})
            for name in ACTIONS
        ]


@stream_request_body
class CometRequestHandler(LogsNoQuery):
    """One request to a Comet address, as an ``Exchange``."""

    def initialize(self, endpoint: Endpoint, name: str) -> None:
        self.endpoint = endpoint
        self.name = name
        self.gone = False
        self.refusal = ""
        self.woken = asyncio.Event()
        self._inquiry = Inquiry(endpoint, name, self)
        self._keeps_body = False
        self._body = bytearray()
        self._body_bytes = 0
        self._chunk_bytes = 0

    async def prepare(self) -> None:
        # What is too long is read to its end and dropped, so that the answer arrives.
        self.connection.set_max_body_size(READ_PAST_LIMIT * self.endpoint.max_body_bytes)
        self.connection.set_body_timeout(self.endpoint.body_timeout)
        self._keeps_body = await self._inquiry.admit()

    def data_received(self, chunk: bytes) -> None:
        self._body_bytes += len(chunk)
        if self._keeps_body and self._body_bytes <= self.endpoint.max_body_bytes:
            self._body += chunk

    async def respond(self) -> None:
        self.gone = self.gone or self.connection.stream.closed()
        if self.asked == "GET" and not self.gone:
            self._prepare_socket()
        await self._inquiry.answer()

    get = head = post = delete = patch = put = options = respond

    @property
    def connection(self) -> HTTP1Connection:
        return cast(HTTP1Connection, self.request.connection)

    def _prepare_socket(self) -> None:
        """Let the system tell soon of a client that does not read, or is not there any more."""
        sock = self.connection.stream.socket
        limits = self.endpoint.registry.limits
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.socket_send_buffer_bytes)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                milliseconds = int(2000 * self.endpoint.heartbeat_interval)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.gone = True
        self.woken.set()

    # The exchange

    @property
    def asked(self) -> str:
        return self.request.method or ""

    @cached_property
    def handshake(self) -> Handshake:
        return handshake_of(self.request)

    @property
    def unsent_bytes(self) -> int:
        return self._chunk_bytes if self.connection.stream.writing() else 0

    async def read_body(self) -> bytes:
        most = self.endpoint.max_body_bytes
        if self._body_bytes > most:
            raise Refused(413, f"Expected at most {most} bytes")
        return bytes(self._body)

    async def answer(self, status: int, headers: HeaderFields, body: bytes) -> None:
        self.set_status(status)
        self._set_headers(headers)
        self._chunk_bytes = len(body)
        with suppress(StreamClosedError):
            await self.finish(body or None)

    async def begin(self, headers: HeaderFields) -> None:
        self._set_headers(headers)
        end_with_the_connection(self.request)

    async def write_chunk(self, chunk: bytes) -> None:
        if self.gone:
            return
        self._chunk_bytes = len(chunk)
        self.write(chunk)
        try:
            await self.flush()
        except StreamClosedError:
            self.gone = True

    async def end(self) -> None:
        if not self.gone:
            with suppress(StreamClosedError):
                await self.finish()
            if ends_with_the_connection(self.request):
                self.connection.stream.close()

    def abort(self) -> None:
        self.connection.stream.close()

    def _set_headers(self, headers: HeaderFields) -> None:
        for name, value in headers.items():
            self.set_header(name, value)

    # What Tornado asks

    def compute_etag(self) -> None:
        """Nothing is ever "not modified"."""

    def check_xsrf_cookie(self) -> None:
        """The origin is checked instead: programs know nothing of such cookies."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:
            self.set_header("Allow", allowed_methods(self.name))
        self.set_header("Content-Type", REFUSAL_TYPE)
        self.finish(reason_of(self))
