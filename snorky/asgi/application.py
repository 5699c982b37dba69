"""One ASGI application that has the WebSockets, Comet and the HTTP back end of a registry.

Decides which edge a scope is for, and who may come in; what happens then is the edge's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence
from typing import cast

from snorky.asgi.backend import answer_backend
from snorky.asgi.comet import ASGICometClient, CometEdge
from snorky.asgi.scopes import ASGIApp, ASGIHandshake, Message, Receive, Scope, Send, path_in
from snorky.asgi.websocket import refuse_websocket, serve_websocket
from snorky.asgi.workers import warn_of_others
from snorky.edges.backend import is_a_key
from snorky.edges.comet.sessions import CometOptions, Endpoint
from snorky.identity import Refused, origin_allowed
from snorky.log import snorky_log
from snorky.service_registry import ServiceRegistry


class SnorkyASGI:
    """Mount it in an ASGI application, or give that application to it as ``app``.

    ``frontend`` gets the WebSockets at ``websocket_path``, and at ``comet_path`` those whom no
    WebSocket reaches (None: they are not served); ``backend`` gets the requests of trusted servers
    at ``backend_path``. Either may be None. Paths are below the mount. ``api_key``: one key of the
    back end, or several of which any opens. ``allowed_origins``: see
    ``snorky.identity.origin_allowed``. ``comet_options``: see
    ``snorky.edges.comet.sessions.Endpoint``. ``send_timeout``: seconds after which a
    WebSocket client that has taken nothing of what waits for it is cut. ``app`` gets everything
    else, the lifespan included; without it that is answered with 404.

    Subclasses may override ``check_origin`` and ``check_api_key``.
    """

    def __init__(
        self,
        frontend: ServiceRegistry | None = None,
        backend: ServiceRegistry | None = None,
        api_key: str | Collection[str] | None = None,
        *,
        websocket_path: str = "/ws",
        backend_path: str = "/backend",
        comet_path: str | None = "/comet",
        allowed_origins: Sequence[str] | None = None,
        comet_options: CometOptions | None = None,
        send_timeout: float = 50.0,
        app: ASGIApp | None = None,
    ) -> None:
        if isinstance(allowed_origins, str):
            raise TypeError(f"expected a list of origins, got the string {allowed_origins!r}")
        for path in (websocket_path, backend_path, comet_path):
            if path is not None and not path.startswith("/"):
                raise ValueError(f"expected a path that begins with a slash, got {path!r}")
        keys = [api_key] if isinstance(api_key, str) else list(api_key or ())
        self.api_keys = [key for key in keys if key]
        if backend is not None and not self.api_keys:
            raise ValueError("expected an api_key for the back end, got none")
        self.frontend = frontend
        self.backend = backend
        self.websocket_path = websocket_path.rstrip("/") or "/"
        self.backend_path = backend_path.rstrip("/") or "/"
        self.allowed_origins = allowed_origins
        self.send_timeout = send_timeout
        self.app = app
        self.comet: CometEdge | None = None
        if frontend is not None and comet_path is not None:
            endpoint = Endpoint(
                registry=frontend,
                # Every handshake of this edge is one of its own.
                check_origin=lambda handshake: self.check_origin(cast(ASGIHandshake, handshake)),
                make_client=ASGICometClient,
                **(comet_options or {}),
            )
            self.comet = CometEdge(endpoint, comet_path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind, path = scope["type"], path_in(scope)
        if kind == "websocket" and self.frontend is not None and path == self.websocket_path:
            await serve_websocket(
                self.frontend, self.check_origin, scope, receive, send, self.send_timeout
            )
        elif kind == "http" and self.comet is not None and self.comet.has(path):
            await self.comet.answer(path, scope, receive, send)
        elif kind == "http" and self.backend is not None and path == self.backend_path:
            await answer_backend(self.backend, self.check_api_key, scope, receive, send)
        elif kind == "lifespan":
            await self._live(scope, receive, send)
        elif self.app is not None:
            await self.app(scope, receive, send)
        elif kind == "websocket":
            await receive()
            await refuse_websocket(scope, send, Refused(404, "Not Found"))
        elif kind == "http":
            await _answer_not_found(send)
        else:
            raise RuntimeError(f"expected an ASGI scope of http or websocket, got {kind!r}")

    async def start(self) -> None:
        """Start the services: see ``ServiceRegistry.start``.

        The lifespan does it. Where that is another application's, the first client does.
        """
        warn_of_others(self._registries)
        for registry in self._registries:
            await registry.start()

    async def stop(self) -> None:
        """Say goodbye as ``end_sessions`` does, and stop the services.

        The end of the lifespan does it. For programs where that is another application's.
        """
        await self.end_sessions()
        for registry in reversed(self._registries):
            await registry.stop()

    async def end_sessions(self) -> None:
        """Say goodbye to everybody who has come by Comet; returns when their services know."""
        if self.comet is not None:
            await self.comet.end_sessions()

    def check_origin(self, handshake: ASGIHandshake) -> bool:
        """Say whether the page that connects may. An override decides alone."""
        return origin_allowed(handshake.origin, handshake.host, self.allowed_origins)

    def check_api_key(self, api_key: str) -> Awaitable[None] | None:
        """Raise ``Refused`` unless ``api_key`` opens. May be overridden, also by ``async``.

        This one compares with every key, each in constant time: the time taken tells nothing
        about any of them.
        """
        if not is_a_key(api_key, self.api_keys):
            raise Refused(401, "Invalid API key")
        return None

    @property
    def _registries(self) -> list[ServiceRegistry]:
        return [each for each in (self.frontend, self.backend) if each is not None]

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start before the application does, and stop when the server stops."""

        async def receive_event() -> Message:
            event = await receive()
            if event["type"] == "lifespan.startup":
                try:
                    await self.start()
                except Exception as error:
                    raise _NotStartedError(repr(error)) from error
            elif event["type"] == "lifespan.shutdown":
                await self.stop()
            return event

        try:
            await (self.app or _live)(scope, receive_event, send)
        except _NotStartedError as error:
            snorky_log.exception("The services could not be started")
            await self.stop()
            await send({"type": "lifespan.startup.failed", "message": str(error)})


class _NotStartedError(Exception):
    """A service or a broker could not be started."""


async def _answer_not_found(send: Send) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"9")]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": b"Not Found"})


async def _live(scope: Scope, receive: Receive, send: Send) -> None:
    """There is nothing to start. Servers close the WebSockets before they say ``shutdown``."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
