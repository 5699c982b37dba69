"""Comet: Server-Sent Events and long polling, where no WebSocket comes through.

What is said is in ``snorky.protocols.comet``; who may have a session, and how long it lives, in
``comet_sessions``. Every request is asked where its page comes from and who sends it.

Session ids travel in the query, which logs leave out: with an anonymous client they are all that
somebody else would need.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar, cast

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler, stream_request_body

from snorky.client import refuse_message
from snorky.identity import Refused, origin_allowed
from snorky.log import printable
from snorky.metrics import metrics
from snorky.protocols.comet import (
    HEARTBEAT,
    OPEN_EVENT,
    PADDING,
    BadRequest,
    Missed,
    batch_in,
    close_event,
    event,
    poll_answer,
    position_in,
)
from snorky.request_handlers.comet_sessions import CometClient, Endpoint, HTTPSession
from snorky.request_handlers.handshakes import REFUSAL_TYPE, admit, handshake_of
from snorky.request_handlers.sockjs_pages import page_of
from snorky.service_registry import ServiceRegistry
from snorky.wire import encode

__all__ = ["CometClient", "SnorkyCometHandler"]

KIB = 1024
JSON_TYPE = "application/json; charset=UTF-8"
NO_SESSION = "No such session: start anew"

_READ_PAST_LIMIT = 4
"""How many times the limit of a body is read, and dropped, before the connection is cut."""

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
        heartbeat_interval: float = 25.0,
        disconnect_delay: float = 10.0,
        response_limit: int = 1024 * KIB,
        max_sessions: int = 10_000,
        max_body_bytes: int = 1024 * KIB,
        max_kept_bytes: int = 128 * KIB,
    ) -> list[Route]:
        """The routes for ``tornado.web.Application``; clients connect to ``path``.

        ``allowed_origins``: see ``snorky.identity.origin_allowed``; holds for every request.
        ``heartbeat_interval``: seconds; proxies cut connections on which nothing is said.
        ``disconnect_delay``: seconds without a connection after which a client counts as gone.
        ``response_limit``: bytes after which a stream ends, and the client asks anew.
        ``max_sessions``: sessions at a time; past it newcomers get status 503.
        ``max_body_bytes``: longest body of a request, which may hold many messages. Past it: 413.
        ``max_kept_bytes``: what was sent is kept up to this size, for clients that come back. Who
        missed more gets status 410, and starts anew.
        """
        endpoint = Endpoint(
            registry=service_registry,
            allowed_origins=allowed_origins,
            heartbeat_interval=heartbeat_interval,
            disconnect_delay=disconnect_delay,
            response_limit=response_limit,
            max_sessions=max_sessions,
            max_body_bytes=max_body_bytes,
            max_kept_bytes=max_kept_bytes,
        )
        base = re.escape(path.rstrip("/"))
        handlers: dict[str, type[RequestHandler]] = {
            base + "/?": OpenHandler,
            base + "/events": EventsHandler,
            base + "/poll": PollHandler,
            base + "/messages": MessagesHandler,
            base + "/close": CloseHandler,
        }
        return [(route, handler, {"endpoint": endpoint}) for route, handler in handlers.items()]


@stream_request_body
class CometRequestHandler(RequestHandler):
    """What all requests share: origins, CORS, identity, and bodies of a bounded size."""

    METHODS: ClassVar[str] = "OPTIONS, POST"
    identity: Any = None

    def initialize(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.body = bytearray()
        self.body_bytes = 0
        self.gone = False

    def prepare(self) -> None:
        # What is too long is read to its end and dropped, so that the answer arrives.
        self.connection.set_max_body_size(_READ_PAST_LIMIT * self.endpoint.max_body_bytes)

    def data_received(self, chunk: bytes) -> None:
        self.body_bytes += len(chunk)
        if self.body_bytes <= self.endpoint.max_body_bytes:
            self.body += chunk

    @property
    def connection(self) -> HTTP1Connection:
        return cast(HTTP1Connection, self.request.connection)

    def options(self) -> None:
        if self.allow_page():
            self.set_header("Access-Control-Max-Age", "86400")
            self.set_header("Access-Control-Allow-Methods", self.METHODS)
            self.set_header("Access-Control-Allow-Headers", "Content-Type, Last-Event-ID")
            self.set_status(204)
            self.finish()

    def allow_page(self) -> bool:
        """Refuse the request, or let its page read the answer (CORS)."""
        page = page_of(self.request.headers)
        self.set_header("Vary", "Origin")
        self.set_header("Cache-Control", "no-store, no-transform")
        self.set_header("X-Content-Type-Options", "nosniff")
        if not origin_allowed(page, self.request.host, self.endpoint.allowed_origins):
            metrics.clients_refused += 1
            self.answer(403, f"Cross origin requests not allowed: {page}")
            return False
        origin = self.request.headers.get("Origin")
        if origin is not None:
            self.set_header("Access-Control-Allow-Origin", origin)
            self.set_header("Access-Control-Allow-Credentials", "true")
        return True

    async def admit(self) -> bool:
        """Ask who it is; False where the request has been answered."""
        if not self.allow_page():
            return False
        try:
            self.identity = await admit(self.endpoint.registry, handshake_of(self.request))
        except Refused as refused:
            metrics.clients_refused += 1
            self.answer(refused.status, refused.reason)
            return False
        return not (self.gone or self.connection.stream.closed())

    async def session(self) -> HTTPSession | None:
        """The session that the request names; None where the request has been answered.

        Another client's session is none, and whether it exists is not told.
        """
        if not await self.admit():
            return None
        session = self.endpoint.sessions.get(self.get_query_argument("session", ""))
        if session is None or session.identity != self.identity:
            self.answer(410, NO_SESSION)
            return None
        return session

    def answer(self, status: int, text: str) -> None:
        self.set_status(status)
        self.set_header("Content-Type", REFUSAL_TYPE)
        self.finish(text)

    def answer_json(self, body: bytes) -> None:
        self.set_header("Content-Type", JSON_TYPE)
        self.finish(body)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.gone = True

    def compute_etag(self) -> None:
        """Nothing is ever "not modified"."""

    def check_xsrf_cookie(self) -> None:
        """The origin is checked instead: programs know nothing of such cookies."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:
            self.set_header("Allow", self.METHODS)
        self.set_header("Content-Type", REFUSAL_TYPE)
        self.finish(self._reason)

    def _request_summary(self) -> str:
        # What Tornado's access log shows of a request, less the query: it may hold tokens.
        return f"{self.request.method} {self.request.path} ({self.request.remote_ip})"


class OpenHandler(CometRequestHandler):
    """Opens a session."""

    async def post(self) -> None:
        if not await self.admit():
            return
        endpoint = self.endpoint
        if len(endpoint.sessions) >= endpoint.max_sessions:
            metrics.clients_refused += 1
            self.answer(503, "Too many sessions")
            return
        session = HTTPSession(endpoint, self.identity, self.request.remote_ip)
        session.open()
        answer = {
            "session": session.id,
            "heartbeatInterval": endpoint.heartbeat_interval,
            "disconnectDelay": endpoint.disconnect_delay,
        }
        self.answer_json(encode(answer))


class CloseHandler(CometRequestHandler):
    """Ends a session at once: its client says goodbye."""

    async def post(self) -> None:
        session = await self.session()
        if session is not None:
            session.close()
            self.set_status(204)
            self.finish()


class MessagesHandler(CometRequestHandler):
    """Takes messages from the client, each once, however often it sends them."""

    async def post(self) -> None:
        session = await self.session()
        if session is None:
            return
        if self.body_bytes > self.endpoint.max_body_bytes:
            self.answer(413, f"Expected at most {self.endpoint.max_body_bytes} bytes")
            return
        client = session.client
        if client is None:  # its goodbye is on the way
            self.answer_json(encode({"received": session.received}))
            return
        try:
            first, after, messages = batch_in(bytes(self.body))
            if after is not None:
                session.acknowledge(after)
            at_once = self.endpoint.registry.limits.max_messages_per_turn
            for number, message in enumerate(messages, first):
                session.deliver(number, message)
                if (number - first + 1) % at_once == 0:
                    await asyncio.sleep(0)
                await session.room()
        except BadRequest as error:
            refuse_message(client, f"{error}. From client {printable(self.request.remote_ip)}")
            self.answer(400, str(error))
            return
        self.answer_json(encode({"received": session.received}))


class _ReceiverHandler(CometRequestHandler):
    """A response that takes messages from its session."""

    METHODS = "OPTIONS, GET"

    def initialize(self, endpoint: Endpoint) -> None:
        super().initialize(endpoint)
        self.replaced = False
        self._woken = asyncio.Event()
        self._chunk_bytes = 0

    async def get(self) -> None:
        session = await self.session()
        if session is None:
            return
        # What a browser's EventSource names when it comes back by itself is newer than the query.
        after = self.request.headers.get("Last-Event-ID") or self.get_query_argument("after", "0")
        try:
            session.attach(self, position_in(after))
        except BadRequest as error:
            self.answer(400, str(error))
            return
        except Missed as missed:
            self.answer(410, str(missed))
            return
        self._prepare_socket()
        try:
            await self.receive(session)
        except StreamClosedError:
            self.gone = True
        finally:
            session.detach(self)

    async def receive(self, session: HTTPSession) -> None:
        raise NotImplementedError

    async def woken(self) -> None:
        await self._woken.wait()
        self._woken.clear()

    async def write_chunk(self, chunk: bytes) -> None:
        """Returns when the operating system has it all."""
        self._chunk_bytes = len(chunk)
        self.write(chunk)
        await self.flush()

    def _prepare_socket(self) -> None:
        """Let the system tell soon of a client that does not read, or is not there any more."""
        sock = self.connection.stream.socket
        limits = self.endpoint.registry.limits
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.socket_send_buffer_bytes)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                milliseconds = int(2000 * self.endpoint.heartbeat_interval)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    # What a session asks of its receiver

    @property
    def unsent_bytes(self) -> int:
        return self._chunk_bytes if self.connection.stream.writing() else 0

    def wake(self) -> None:
        self._woken.set()

    def replace(self) -> None:
        self.replaced = True
        if self.unsent_bytes:  # nobody may be reading it
            self.abort()
        self._woken.set()

    def abort(self) -> None:
        self.connection.stream.close()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._woken.set()


class EventsHandler(_ReceiverHandler):
    """Server-Sent Events: a response that goes on."""

    async def receive(self, session: HTTPSession) -> None:
        self.set_header("Content-Type", "text/event-stream; charset=UTF-8")
        self.set_header("X-Accel-Buffering", "no")  # nginx would keep the events
        await self.write_chunk(PADDING + OPEN_EVENT)
        room = self.endpoint.response_limit
        while room > 0 and not (self.gone or self.replaced):
            messages = session.take()
            if messages:
                first = session.taken - len(messages) + 1
                chunk = b"".join(event(number, text) for number, text in enumerate(messages, first))
                room -= len(chunk)
                await self.write_chunk(chunk)
            elif session.close_code is not None:
                await self.write_chunk(close_event(session.close_code))
                break
            elif session.take_heartbeat():
                await self.write_chunk(HEARTBEAT)
            else:
                await self.woken()
        if not self.gone:
            await self.finish()


class PollHandler(_ReceiverHandler):
    """Long polling: a response for each delivery, empty ones as a sign of life."""

    async def receive(self, session: HTTPSession) -> None:
        while not (self.gone or self.replaced):
            messages = session.take()
            if messages or session.closed or session.take_heartbeat():
                # The goodbye goes alone: what still waits is before it.
                goodbye = None if messages else session.close_code
                answer = poll_answer(session.taken, messages, goodbye)
                self._chunk_bytes = len(answer)
                self.set_header("Content-Type", JSON_TYPE)
                await self.finish(answer)
                return
            await self.woken()
        if self.replaced and not self.gone:
            self.answer(409, "Another request has come in the place of this one")
