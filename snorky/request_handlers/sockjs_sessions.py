"""The sessions of a SockJS address: who may have one, how long it lives, what its services hear.

Knows the event loop and the registry. What is said is ``snorky.protocols.sockjs``'s business, how
it travels that of ``sockjs_transports``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tornado.httputil import HTTPServerRequest

from snorky import close_codes
from snorky.client import Client
from snorky.log import printable, snorky_log
from snorky.metrics import metrics
from snorky.pings import wheel_of
from snorky.protocols.sockjs import GO_AWAY, INTERRUPTED, TOO_BIG, Receiver, Session
from snorky.service_registry import ServiceRegistry
from snorky.wire import Envelope, encode


class SockJSClient(Client):
    """A client that came by SockJS, by whichever transport."""

    refused: bool = False
    """True once ``on_open`` has turned it away."""

    def __init__(
        self, session: Session, remote_address: str | None = None, identity: Any = None
    ) -> None:
        self.session = session
        self.remote_address = remote_address
        self.identity = identity

    def send(self, msg: Any) -> None:
        text = msg.text if type(msg) is Envelope else encode(msg)
        if not self.session.closed:
            metrics.messages_sent += 1
            self.session.send(text)

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.session.close(code, reason)

    @property
    def unsent_bytes(self) -> int:
        return self.session.unsent_bytes


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """The request that opened a session: Tornado's values."""

    ip: str | None
    cookies: Mapping[str, Any]
    arguments: Mapping[str, Sequence[bytes]]
    headers: Mapping[str, str]


class SockJSHandler(Protocol):
    """What an address makes for every session."""

    client: SockJSClient

    @property
    def session(self) -> Session: ...
    def on_open(self, info: ConnectionInfo) -> bool | None: ...
    def on_message(self, message: str) -> None: ...
    def on_close(self) -> None: ...


@dataclass(eq=False)
class Endpoint:
    """One SockJS address: its options, and the sessions it holds. See ``get_routes``."""

    registry: ServiceRegistry
    handler_class: Callable[[ServiceRegistry, Session, SockJSClient], SockJSHandler]
    allowed_origins: Sequence[str] | None
    websocket: bool
    jsessionid: bool
    sockjs_url: str
    heartbeat_interval: float
    disconnect_delay: float
    response_limit: int
    max_sessions: int
    max_body_bytes: int
    sessions: dict[str, HTTPSession] = field(default_factory=dict)

    def handler_of(
        self, session: Session, identity: Any, request: HTTPServerRequest
    ) -> SockJSHandler:
        client = SockJSClient(session, request.remote_ip, identity)
        client.log_lines_left = self.registry.limits.max_log_lines_per_client
        return self.handler_class(self.registry, session, client)

    def connect(self, handler: SockJSHandler, request: HTTPServerRequest) -> None:
        """Tell the services of a new client. What fails there closes its session."""
        session, client = handler.session, handler.client
        info = ConnectionInfo(
            request.remote_ip, request.cookies, request.arguments, request.headers
        )
        try:
            if handler.on_open(info) is False:
                client.refused = True
                session.close(*GO_AWAY)
        except Exception:
            snorky_log.exception("Unhandled exception while connecting %s", _address(client))
            session.close(*close_codes.INTERNAL_ERROR)

    def deliver(self, handler: SockJSHandler, message: str) -> None:
        """Hand over a message of a client. What fails there closes its session."""
        session = handler.session
        if session.closed:
            return
        if len(message.encode("utf-8", "surrogatepass")) > self.registry.limits.max_message_bytes:
            session.close(*TOO_BIG)
            return
        metrics.messages_received += 1
        try:
            handler.on_message(message)
        except Exception:
            snorky_log.exception(
                "Unhandled exception in the connection of %s", _address(handler.client)
            )
            session.close(*close_codes.INTERNAL_ERROR)

    def disconnect(self, handler: SockJSHandler) -> None:
        """Tell the services that a client has gone; one that was refused only if they know it."""
        client, session = handler.client, handler.session
        client.connected = False
        if session.close_code == close_codes.SLOW_CLIENT:
            metrics.clients_slow += 1
            snorky_log.info("Client %s is too slow; disconnected", _address(client))
        if client.refused and client not in self.registry.clients:
            return
        try:
            handler.on_close()
        except Exception:
            snorky_log.exception("Unhandled exception while disconnecting %s", _address(client))


class HTTPSession(Session):
    """A session that lives longer than its requests.

    It ends ``disconnect_delay`` seconds after its last receiver, or when it is closed, and says
    goodbye for as long to whoever asks.
    """

    handler: SockJSHandler

    def __init__(self, endpoint: Endpoint, session_id: str, identity: Any) -> None:
        super().__init__(endpoint.registry.limits.max_unsent_bytes)
        self.identity = identity
        """Whose it is, as ``authenticate`` said: nobody else's requests reach it."""
        self._endpoint = endpoint
        self._id = session_id
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._wheel = wheel_of(self._loop, endpoint.heartbeat_interval)
        self._intervals_without_progress = 0
        self._drained = asyncio.Event()

    def open(self, request: HTTPServerRequest) -> None:
        endpoint = self._endpoint
        self.handler = endpoint.handler_of(self, self.identity, request)
        endpoint.sessions[self._id] = self
        metrics.clients += 1
        metrics.clients_connected += 1
        self._slot = self._wheel.add(self)
        endpoint.connect(self.handler, request)

    async def room(self) -> None:
        """Wait until the client has read, where half of what may wait for it does.

        So its own answers never make it a slow client; only what others send to it does.
        """
        while not self.closed and self.unsent_bytes > self.max_unsent_bytes // 2:
            self._drained.clear()
            await self._drained.wait()

    def attach(self, receiver: Receiver) -> bool:
        attached = super().attach(receiver)
        if attached and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return attached

    def detach(self, receiver: Receiver) -> None:
        super().detach(receiver)
        self._drained.set()
        self._wait_for_a_receiver()

    def close(self, code: int = GO_AWAY.code, reason: str = GO_AWAY.reason) -> None:
        if not self.closed:
            super().close(code, reason)
            self._drained.set()
            # Later: who sends to a client, or closes it, is not called back from within.
            self._loop.call_soon(self._disconnect)
            self._wait_for_a_receiver()

    def ping_or_close(self) -> None:
        """Called once per heartbeat interval."""
        self._intervals_without_progress += 1
        if self.receiver is None or not self.receiver.unsent_bytes:
            self._intervals_without_progress = 0
            self.heartbeat()
        elif self._intervals_without_progress >= 2:
            metrics.clients_silent += 1
            self.cut(close_codes.SILENT_CLIENT)

    def take_frame(self) -> bytes | None:
        self._intervals_without_progress = 0
        self._drained.set()
        return super().take_frame()

    def _wait_for_a_receiver(self) -> None:
        if self.receiver is None and self._timer is None:
            self._timer = self._loop.call_later(self._endpoint.disconnect_delay, self._expire)

    def _expire(self) -> None:
        del self._endpoint.sessions[self._id]
        self.close(*INTERRUPTED)
        self._timer = None  # no cycle is left for the collector

    def _disconnect(self) -> None:
        self._wheel.remove(self, self._slot)
        metrics.clients -= 1
        self._endpoint.disconnect(self.handler)
        del self.handler  # no cycle is left for the collector


def _address(client: Client) -> str:
    return printable(client.remote_address)
