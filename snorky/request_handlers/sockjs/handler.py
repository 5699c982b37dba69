"""SockJS: the services of a registry for browsers and networks that let no WebSocket through.

The rest is in ``snorky.protocols.sockjs`` (what is said), ``sessions`` (who may have a
session, how long it lives), ``transports`` and ``websocket`` (how it travels), and
``pages`` (what there is beside sessions).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tornado.web import RequestHandler

from snorky.protocols.sockjs import GO_AWAY, Session
from snorky.request_handlers.sockjs.pages import GreetingHandler, IframeHandler, InfoHandler
from snorky.request_handlers.sockjs.sessions import ConnectionInfo, Endpoint, SockJSClient
from snorky.request_handlers.sockjs.transports import (
    EventSourceHandler,
    HTMLFileHandler,
    JSONPHandler,
    JSONPSendHandler,
    XHRHandler,
    XHRSendHandler,
    XHRStreamingHandler,
)
from snorky.request_handlers.sockjs.websocket import RawWebSocketHandler, WebSocketHandler
from snorky.service_registry import ServiceRegistry
from snorky.wire import encode

__all__ = ["ConnectionInfo", "SnorkySockJSHandler", "SockJSClient"]

KIB = 1024
SOCKJS_URL = "https://cdn.jsdelivr.net/npm/sockjs-client@1.6.1/dist/sockjs.min.js"

Route = tuple[str, type[RequestHandler], dict[str, Any]]


class SnorkySockJSHandler:
    """One SockJS session, whichever transport carries it.

    Subclasses may override ``on_open``, ``on_message`` and ``on_close`` (calling super).
    ``self.client`` exists before ``on_open``.
    """

    def __init__(
        self, service_registry: ServiceRegistry, session: Session, client: SockJSClient
    ) -> None:
        self.service_registry = service_registry
        self.session = session
        self.client = client

    @classmethod
    def get_routes(
        cls,
        service_registry: ServiceRegistry,
        path: str = "",
        *,
        allowed_origins: Sequence[str] | None = None,
        websocket: bool = True,
        jsessionid: bool = False,
        sockjs_url: str = SOCKJS_URL,
        heartbeat_interval: float = 25.0,
        disconnect_delay: float = 5.0,
        response_limit: int = 128 * KIB,
        max_sessions: int = 10_000,
        max_body_bytes: int = 1024 * KIB,
    ) -> list[Route]:
        """The routes for ``tornado.web.Application``; clients connect to ``path``.

        ``allowed_origins``: see ``snorky.identity.origin_allowed``; holds for every transport.
        ``websocket``: False where it is known not to come through.
        ``jsessionid``: set that cookie, for load balancers that keep sessions together by it.
        ``sockjs_url``: where the iframe page loads the SockJS client from.
        ``heartbeat_interval``: seconds; proxies cut connections on which nothing is said.
        ``disconnect_delay``: seconds without a connection after which a client counts as gone.
        ``response_limit``: bytes after which a streaming response ends, and the client asks anew.
        ``max_sessions``: sessions over HTTP at a time. Past it those make room that have no
        connection for a second; where there are none newcomers get status 503.
        ``max_body_bytes``: longest body of a request, which may hold many messages. Past it: 413.
        """
        endpoint = Endpoint(
            registry=service_registry,
            handler_class=cls,
            allowed_origins=allowed_origins,
            websocket=websocket,
            jsessionid=jsessionid,
            sockjs_url=sockjs_url,
            heartbeat_interval=heartbeat_interval,
            disconnect_delay=disconnect_delay,
            response_limit=response_limit,
            max_sessions=max_sessions,
            max_body_bytes=max_body_bytes,
        )
        base = path.rstrip("/")
        # A longer id names no session: whoever picks it would make us keep it.
        session = base + r"/(?P<server_id>[^/.]{1,128})/(?P<session_id>[^/.]{1,128})"
        # Tornado tries one after the other: what is asked for most comes first.
        handlers: dict[str, type[RequestHandler]] = {
            session + "/xhr_send": XHRSendHandler,
            session + "/xhr": XHRHandler,
            session + "/xhr_streaming": XHRStreamingHandler,
            session + "/eventsource": EventSourceHandler,
            session + "/htmlfile": HTMLFileHandler,
            session + "/jsonp": JSONPHandler,
            session + "/jsonp_send": JSONPSendHandler,
            base + "/?": GreetingHandler,
            base + "/info": InfoHandler,
            base + r"/iframe[0-9a-zA-Z.\-_]*\.html": IframeHandler,
        }
        if websocket:
            handlers[session + "/websocket"] = WebSocketHandler
            handlers[base + "/websocket"] = RawWebSocketHandler
        return [(route, handler, {"endpoint": endpoint}) for route, handler in handlers.items()]

    # What subclasses override

    def on_open(self, info: ConnectionInfo) -> bool | None:
        """A client has come. Returning False turns it away."""
        self.service_registry.client_connected(self.client)
        return None

    def on_message(self, message: str) -> None:
        self.service_registry.process_message_raw(self.client, message)

    def on_close(self) -> None:
        self.service_registry.client_disconnected(self.client)

    # What subclasses call

    def send(self, message: Any) -> None:
        """Send a message: text as it is, anything else as JSON."""
        if isinstance(message, str):
            self.session.send(message.encode("utf-8", "surrogatepass"))
        else:
            self.session.send(message if isinstance(message, bytes) else encode(message))

    def close(self, code: int = GO_AWAY.code, reason: str = GO_AWAY.reason) -> None:
        """Close the session; the page is told ``code`` and ``reason``."""
        self.session.close(code, reason)
