"""The sessions of a SockJS address: who may have one, and what its services hear.

How long they last is in ``lasting_sessions``. What is said is ``snorky.protocols.sockjs``'s
business, how it travels that of ``transports``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tornado.httputil import HTTPServerRequest

from snorky import visit
from snorky.edges.lasting_sessions import LastingSession, SessionClient
from snorky.protocols.sockjs import GO_AWAY, INTERRUPTED, Receiver, Session
from snorky.service_registry import ServiceRegistry


class SockJSClient(SessionClient):
    """A client that came by SockJS, by whichever transport."""

    refused: bool = False
    """True once ``on_open`` has turned it away."""


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """The request that opened a session, with Tornado's values.

    ``ip``, ``cookies`` (name -> morsel), ``arguments`` (of the URL's query: name -> values) and
    ``headers``.
    """

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
    absent: dict[str, float] = field(default_factory=dict)

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
        if visit.greet(client, lambda _: handler.on_open(info)) is False:
            client.refused = True
            session.close(*GO_AWAY)

    def deliver(self, handler: SockJSHandler, message: str) -> None:
        """Hand over a message of a client. What fails there closes its session."""
        if not handler.session.closed:
            limits = self.registry.limits
            visit.speaks(
                handler.client, message, limits, lambda _, message: handler.on_message(message)
            )

    def disconnect(self, handler: SockJSHandler, *, counted: bool) -> None:
        """Tell the services that a client has gone; one that was refused only if they know it.

        ``counted``: not so where its WebSocket is.
        """
        client = handler.client
        client.note_its_end()
        known = not client.refused or client in self.registry.clients
        visit.goes(client, (lambda _: handler.on_close()) if known else None, counted=counted)


class HTTPSession(LastingSession, Session):
    """A session over HTTP: it lives longer than its requests."""

    INTERRUPTED = INTERRUPTED
    handler: SockJSHandler

    def __init__(self, endpoint: Endpoint, session_id: str, identity: Any) -> None:
        super().__init__(endpoint.registry.limits.max_unsent_bytes)
        self.identity = identity
        """Whose it is, as ``authenticate`` said: nobody else's requests reach it."""
        self._endpoint = endpoint
        self.lasts(endpoint, session_id)

    def open(self, request: HTTPServerRequest) -> None:
        self.handler = self._endpoint.handler_of(self, self.identity, request)
        self.begin()
        visit.comes(self.handler.client, self._endpoint.registry.limits)
        self._endpoint.connect(self.handler, request)

    def attach(self, receiver: Receiver) -> bool:
        attached = super().attach(receiver)
        if attached:
            self._has_a_receiver()
        return attached

    def take_frame(self) -> bytes | None:
        self._is_read()
        return super().take_frame()

    def end(self) -> None:
        self._endpoint.disconnect(self.handler, counted=True)
        del self.handler  # no cycle is left for the collector
