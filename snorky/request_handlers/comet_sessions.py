"""The sessions of a Comet address: who may have one, how long it lives, what its services hear.

Knows the event loop and the registry. What is said is ``snorky.protocols.comet``'s business, how it
travels that of ``comet_requests`` and the doors.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypedDict

from snorky import close_codes
from snorky.client import Client
from snorky.identity import Handshake
from snorky.log import printable, snorky_log
from snorky.metrics import metrics
from snorky.pings import wheel_of
from snorky.protocols.comet import INTERRUPTED, NORMAL, TOO_BIG, Receiver, Session
from snorky.service_registry import ServiceRegistry
from snorky.wire import Envelope, encode


class CometClient(Client):
    """A client that came by Server-Sent Events or long polling."""

    def __init__(self, session: Session, handshake: Handshake, identity: Any) -> None:
        self.session = session
        self.remote_address = handshake.remote_address
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


KIB = 1024


class CometOptions(TypedDict, total=False):
    """What may be chosen for a Comet address; what is left out is as in ``Endpoint``."""

    heartbeat_interval: float
    disconnect_delay: float
    response_limit: int
    max_sessions: int
    max_body_bytes: int
    max_kept_bytes: int


@dataclass(eq=False, kw_only=True)
class Endpoint:
    """One Comet address: its options, and the sessions it holds."""

    registry: ServiceRegistry

    check_origin: Callable[[Handshake], bool]
    """Whether the page that sends a request may. Its ``origin`` is told by whatever header."""

    make_client: Callable[[Session, Handshake, Any], CometClient] = CometClient

    heartbeat_interval: float = 25.0
    """Seconds; proxies cut connections on which nothing is said."""

    disconnect_delay: float = 10.0
    """Seconds without a connection after which a client counts as gone."""

    response_limit: int = 1024 * KIB
    """Bytes after which a stream ends, and the client asks anew."""

    max_sessions: int = 10_000
    """Sessions at a time; past it newcomers get status 503."""

    max_body_bytes: int = 1024 * KIB
    """Longest body of a request, which may hold many messages. Past it: 413."""

    max_kept_bytes: int = 128 * KIB
    """What was sent is kept up to this size, for clients that come back. Who missed more gets
    status 410, and starts anew."""

    sessions: dict[str, HTTPSession] = field(default_factory=dict)

    @property
    def body_timeout(self) -> float:
        """Seconds that a body may take. Our client gives a request up after as many."""
        return 2 * self.heartbeat_interval


class HTTPSession(Session):
    """A session that ends ``disconnect_delay`` seconds after its last receiver, or when closed.

    Then it says goodbye for as long to whoever asks.
    """

    def __init__(self, endpoint: Endpoint, handshake: Handshake, identity: Any) -> None:
        limits = endpoint.registry.limits
        super().__init__(limits.max_unsent_bytes, endpoint.max_kept_bytes)
        self.id = secrets.token_urlsafe(24)
        """Whoever knows it, and has the identity, has the session."""
        self.identity = identity
        self.close_timeout = limits.close_timeout
        self.client: CometClient | None = endpoint.make_client(self, handshake, identity)
        """None once its services know that it has gone: no cycle is left for the collector."""
        self.client.log_lines_left = limits.max_log_lines_per_client
        self._address = printable(handshake.remote_address)
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._wheel = wheel_of(self._loop, endpoint.heartbeat_interval)
        self._turns_without_progress = 0
        self._drained = asyncio.Event()

    def open(self) -> None:
        """Tell the services of the client. What fails there closes the session."""
        self._endpoint.sessions[self.id] = self
        metrics.clients += 1
        metrics.clients_connected += 1
        self._slot = self._wheel.add(self)
        self._wait_for_a_receiver()
        try:
            self._endpoint.registry.client_connected(self.client)
        except Exception:
            snorky_log.exception("Unhandled exception while connecting %s", self._address)
            self.close(*close_codes.INTERNAL_ERROR)

    def deliver(self, number: int, message: str) -> None:
        """Hand over a message of the client, once. Raises BadRequest where one is missing."""
        client = self.client
        if self.closed or client is None or not self.accept(number):
            return
        registry = self._endpoint.registry
        if len(message.encode("utf-8", "surrogatepass")) > registry.limits.max_message_bytes:
            self.close(*TOO_BIG)
            return
        metrics.messages_received += 1
        try:
            registry.process_message_raw(client, message)
        except Exception:
            snorky_log.exception("Unhandled exception in the connection of %s", self._address)
            self.close(*close_codes.INTERNAL_ERROR)

    async def room(self) -> None:
        """Wait until the client has read, where half of what may wait for it does.

        So its own answers never make it a slow client; only what others send to it does.
        """
        while not self.closed and self.unsent_bytes > self.max_unsent_bytes // 2:
            self._drained.clear()
            await self._drained.wait()

    def attach(self, receiver: Receiver, after: int) -> None:
        super().attach(receiver, after)
        self._turns_without_progress = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def detach(self, receiver: Receiver) -> None:
        super().detach(receiver)
        self._drained.set()
        self._wait_for_a_receiver()

    def take(self) -> list[bytes]:
        self._turns_without_progress = 0
        self._drained.set()
        return super().take()

    def close(self, code: int = NORMAL.code, reason: str = NORMAL.reason) -> None:
        if not self.closed:
            super().close(code, reason)
            self._drained.set()
            # Later: who sends to a client, or closes it, is not called back from within.
            self._loop.call_soon(self._disconnect)
            self._wait_for_a_receiver()

    def ping_or_close(self) -> None:
        """Called once per heartbeat interval."""
        self._turns_without_progress += 1
        if self.receiver is None or not self.receiver.unsent_bytes:
            self._turns_without_progress = 0
            self.heartbeat()
        elif self._turns_without_progress >= 2:
            metrics.clients_silent += 1
            self.cut(close_codes.SILENT_CLIENT)

    def _wait_for_a_receiver(self) -> None:
        if self.receiver is None and self._timer is None:
            self._timer = self._loop.call_later(self._endpoint.disconnect_delay, self._expire)

    def _expire(self) -> None:
        del self._endpoint.sessions[self.id]
        self.close(*INTERRUPTED)
        self._timer = None  # no cycle is left for the collector

    def _disconnect(self) -> None:
        self._wheel.remove(self, self._slot)
        metrics.clients -= 1
        client, self.client = self.client, None
        assert client is not None  # called once
        client.connected = False
        if self.close_code == close_codes.SLOW_CLIENT:
            metrics.clients_slow += 1
            snorky_log.info("Client %s is too slow; disconnected", self._address)
        self._endpoint.registry.client_disconnected(client)
