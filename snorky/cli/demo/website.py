"""The web application of the demo: its page, and the list as a small REST API.

It does what any web application does with DataSync: asks Snorky for a token before it queries, and
publishes what changed after it has committed. Each step is told to the picture.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tornado.web import Application, RequestHandler, StaticFileHandler

from snorky.backend.aio import SnorkyBackend
from snorky.cli.demo.live import Live
from snorky.cli.demo.store import Refused, Store
from snorky.cli.pages import STATIC_FILES
from snorky.identity import origin_allowed
from snorky.request_handlers.comet import SnorkyCometHandler
from snorky.request_handlers.tornado_internals import reason_of
from snorky.request_handlers.websocket import SnorkyWebSocketHandler

PAGE = Path(__file__).parent / "page"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_WINDOW = re.compile(r"[a-z0-9]{1,32}", re.ASCII)

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def website(store: Store, live: Live, snorky: SnorkyBackend, host: str) -> Application:
    """The page at ``/``, the list at ``/api/items``, and Snorky at ``/ws`` and ``/comet``."""
    application = Application(log_function=lambda handler: None)
    options = {"store": store, "live": live, "snorky": snorky}
    # Names of other sites that lead here (DNS rebinding) are none of ours.
    names = r"(localhost|127\.0\.0\.1|\[::1\])" if host in LOOPBACK else ".*"
    application.add_handlers(
        names,
        [
            SnorkyWebSocketHandler.get_route(live.frontend, "/ws"),
            *SnorkyCometHandler.get_routes(live.frontend, "/comet"),
            ("/api/items", ListHandler, options),
            (r"/api/items/([0-9]{1,15})", ItemHandler, options),
            (r"/static/([\w.-]+)", _Files, {"path": str(STATIC_FILES)}),
            (r"/([\w.-]*)", _Files, {"path": str(PAGE), "default_filename": "index.html"}),
        ],
    )
    return application


class _Files(StaticFileHandler):
    def set_default_headers(self) -> None:
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        if absolute_path.rstrip("/") == root.rstrip("/"):
            absolute_path = str(Path(root) / "index.html")
        return super().validate_absolute_path(root, absolute_path)


class _APIHandler(RequestHandler):
    """What both addresses share: origins, JSON, and telling the picture."""

    def initialize(self, store: Store, live: Live, snorky: SnorkyBackend) -> None:
        self.store = store
        self.live = live
        self.snorky = snorky
        window = self.request.headers.get("X-Window", "")
        self.window = window if _WINDOW.fullmatch(window) else "?"

    def prepare(self) -> None:
        if not origin_allowed(self.request.headers.get("Origin"), self.request.host):
            self.refuse(403, "Pages of other sites may not change the list.")
            return
        if self.request.method != "GET":
            self.step("window", "app", f"{self.request.method} {self.request.path}", self.sent())

    def sent(self) -> Any:
        """The body, decoded; None where it is no JSON."""
        try:
            return json.loads(self.request.body)
        except (ValueError, RecursionError):
            return None

    def field(self, name: str) -> Any:
        sent = self.sent()
        return sent.get(name) if isinstance(sent, dict) else None

    def step(self, source: str, target: str, text: str, detail: Any = None) -> None:
        self.live.wire.step(source, target, text, window=self.window, detail=detail)

    def trace_database(self) -> None:
        """What the store is asked until something is awaited is done for this request."""
        self.store.traced = lambda statement: self.step("app", "database", statement)

    async def publish(self, delta: dict[str, Any]) -> None:
        """After the commit, with the lock from before it: in the order of the commits."""
        self.step("app", "snorky", "publishDeltas", [delta])
        await self.snorky.call("datasync_backend", "publishDeltas", deltas=[delta])

    def answer(self, status: int, body: Any = None) -> None:
        self.set_status(status)
        self.step("app", "window", f"{status} {reason_of(self)}", body)
        if body is not None:
            self.finish(json.dumps(body))
        else:
            self.finish()

    def refuse(self, status: int, text: str) -> None:
        self.answer(status, {"error": text})

    def set_default_headers(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def check_xsrf_cookie(self) -> None:
        """The origin is checked instead."""


class ListHandler(_APIHandler):
    async def get(self) -> None:
        """The items; with the header ``X-Snorky: Subscribe`` a token for their changes, too."""
        wants_token = self.request.headers.get("X-Snorky", "").lower() == "subscribe"
        suffix = "  X-Snorky: Subscribe" if wants_token else ""
        self.step("window", "app", f"GET /api/items{suffix}")
        if wants_token:
            # First the token, then the query: no change can fall between the two.
            items = [{"dealer": "AllItems", "query": None}]
            self.step("app", "snorky", "authorizeSubscription", items)
            token = await self.snorky.call("datasync_backend", "authorizeSubscription", items=items)
            self.step("snorky", "app", "a token")
            self.set_header("X-Subscription-Token", token)
        self.trace_database()
        items = self.store.all()
        async with self.live.publishing:
            pass  # what the query has seen is published now: no window takes it back for a moment
        self.answer(200, items)

    async def post(self) -> None:
        """``{"title": str}`` is added."""
        async with self.live.publishing:
            self.trace_database()
            try:
                item = self.store.add(self.field("title"))
            except Refused as refused:
                self.refuse(400, str(refused))
                return
            await self.publish({"type": "insert", "model": "Item", "data": item})
        self.answer(201, item)


class ItemHandler(_APIHandler):
    async def patch(self, number: str) -> None:
        """``{"done": bool}`` is set."""
        async with self.live.publishing:
            self.trace_database()
            try:
                changed = self.store.set_done(int(number), self.field("done"))
            except Refused as refused:
                self.refuse(400, str(refused))
                return
            if changed is None:
                self.refuse(404, "That item is gone.")
                return
            old, new = changed
            await self.publish({"type": "update", "model": "Item", "newData": new, "oldData": old})
        self.answer(200, new)

    async def delete(self, number: str) -> None:
        async with self.live.publishing:
            self.trace_database()
            old = self.store.delete(int(number))
            if old is None:
                self.refuse(404, "That item is gone.")
                return
            await self.publish({"type": "delete", "model": "Item", "data": old})
        self.answer(204)
