"""One ASGI application that has the WebSockets and the HTTP back end of a registry.

Decides which edge a scope is for, and who may come in; what happens then is the edge's.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Collection, Sequence

from snorky.asgi.backend import answer_backend
from snorky.asgi.scopes import ASGIApp, ASGIHandshake, Receive, Scope, Send, path_in
from snorky.asgi.websocket import refuse_websocket, serve_websocket
from snorky.identity import Refused, origin_allowed
from snorky.service_registry import ServiceRegistry


class SnorkyASGI:
    """Mount it in an ASGI application, or give that application to it as ``app``.

    ``frontend`` gets the WebSockets at ``websocket_path``, ``backend`` the requests of trusted
    servers at ``backend_path``; either may be None. Paths are below the mount. ``api_key``: one
    key of the back end, or several of which any opens. ``allowed_origins``: see
    ``snorky.identity.origin_allowed``. ``app`` gets everything else, the lifespan included;
    without it that is answered with 404.

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
        allowed_origins: Sequence[str] | None = None,
        app: ASGIApp | None = None,
    ) -> None:
        if isinstance(allowed_origins, str):
            raise TypeError(f"expected a list of origins, got the string {allowed_origins!r}")
        for path in (websocket_path, backend_path):
            if not path.startswith("/"):
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
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind, path = scope["type"], path_in(scope)
        if kind == "websocket" and self.frontend is not None and path == self.websocket_path:
            await serve_websocket(self.frontend, self.check_origin, scope, receive, send)
        elif kind == "http" and self.backend is not None and path == self.backend_path:
            await answer_backend(self.backend, self.check_api_key, scope, receive, send)
        elif self.app is not None:
            await self.app(scope, receive, send)
        elif kind == "websocket":
            await receive()
            await refuse_websocket(scope, send, Refused(404, "Not Found"))
        elif kind == "http":
            await _answer_not_found(send)
        elif kind == "lifespan":
            await _live(receive, send)
        else:
            raise RuntimeError(f"expected an ASGI scope of http or websocket, got {kind!r}")

    def check_origin(self, handshake: ASGIHandshake) -> bool:
        """Say whether the page that connects may. An override decides alone."""
        return origin_allowed(handshake.origin, handshake.host, self.allowed_origins)

    def check_api_key(self, api_key: str) -> Awaitable[None] | None:
        """Raise ``Refused`` unless ``api_key`` opens. May be overridden, also by ``async``.

        This one compares with every key, each in constant time: the time taken tells nothing
        about any of them.
        """
        given = api_key.encode("utf-8", "surrogatepass")
        matches = [hmac.compare_digest(given, key.encode()) for key in self.api_keys]
        if not any(matches):
            raise Refused(401, "Invalid API key")
        return None


async def _answer_not_found(send: Send) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"9")]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": b"Not Found"})


async def _live(receive: Receive, send: Send) -> None:
    """There is nothing to start. Servers close the WebSockets before they say ``shutdown``."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
