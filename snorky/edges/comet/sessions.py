"""The sessions of a Comet address: who may have one, and what its services hear.

How long they last is in ``lasting_sessions``. What is said is ``snorky.protocols.comet``'s
business, how it travels that of ``requests`` and the doors.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypedDict

from snorky import visit
from snorky.edges.lasting_sessions import LastingSession, SessionClient
from snorky.identity import Handshake
from snorky.protocols.comet import INTERRUPTED, Receiver, Session
from snorky.service_registry import ServiceRegistry


class CometClient(SessionClient):
    """A client that came by Server-Sent Events or long polling."""

    def __init__(self, session: Session, handshake: Handshake, identity: Any) -> None:
        super().__init__(session, handshake.remote_address, identity)


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
    """Sessions at a time. Past it those make room that have no connection for a second; where there
    are none newcomers get status 503."""

    max_body_bytes: int = 1024 * KIB
    """Longest body of a request, which may hold many messages. Past it: 413."""

    max_kept_bytes: int = 128 * KIB
    """What was sent is kept up to this size, for clients that come back. Who missed more gets
    status 410, and starts anew."""

    sessions: dict[str, HTTPSession] = field(default_factory=dict)
    absent: dict[str, float] = field(default_factory=dict)

    @property
    def body_timeout(self) -> float:
        """Seconds that a body may take. Our client gives a request up after as many."""
        return 2 * self.heartbeat_interval


class HTTPSession(LastingSession, Session):
    """One client, as long as it comes back in time."""

    INTERRUPTED = INTERRUPTED

    def __init__(self, endpoint: Endpoint, handshake: Handshake, identity: Any) -> None:
        limits = endpoint.registry.limits
        super().__init__(limits.max_unsent_bytes, endpoint.max_kept_bytes)
        self.id = secrets.token_urlsafe(24)
        """Whoever knows it, and has the identity, has the session."""
        self.identity = identity
        self.close_timeout = limits.close_timeout
        self.client: CometClient | None = endpoint.make_client(self, handshake, identity)
        """None once its services know that it has gone: no cycle is left for the collector."""
        self._registry = endpoint.registry
        self.lasts(endpoint, self.id)

    def open(self) -> None:
        """Tell the services of the client. What fails there closes the session."""
        client = self.client
        assert client is not None  # nobody has ended it yet
        self.begin()
        self._wait_for_a_receiver()
        visit.comes(client, self._registry.limits)
        visit.greet(client, self._registry.client_connected)

    def deliver(self, number: int, message: str) -> None:
        """Hand over a message of the client, once. Raises BadRequest where one is missing."""
        client = self.client
        if self.closed or client is None or not self.accept(number):
            return
        registry = self._registry
        visit.speaks(client, message, registry.limits, registry.process_message_raw)

    def attach(self, receiver: Receiver, after: int) -> None:
        super().attach(receiver, after)
        self._has_a_receiver()

    def take(self) -> list[bytes]:
        self._is_read()
        return super().take()

    def end(self) -> None:
        client, self.client = self.client, None
        assert client is not None  # it ends once
        client.note_its_end()
        visit.goes(client, self._registry.client_disconnected)
