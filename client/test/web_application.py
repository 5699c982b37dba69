"""The web application that says who may be connected to which event paths, as a test wants it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tornado.web import RequestHandler

from snorky import ServiceRegistry
from snorky.services.base import Request, RPCService, rpc_command
from snorky.services.events import EventsService


class WebApplication(RPCService):
    """What tests do to it, and what it was asked: ``{"url", "headers", "paths"}`` each."""

    def __init__(self, name: str, events: EventsService) -> None:
        super().__init__(name)
        self.events = events
        self.forbidden: set[str] = set()
        self.status = 200
        self.requests: list[dict[str, Any]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    @rpc_command
    def forbid(self, req: Request, path: str) -> None:
        self.forbidden.add(path)

    @rpc_command
    def fail(self, req: Request, status: int) -> None:
        """Answer everything with this status; 200: no longer."""
        self.status = status

    @rpc_command
    def hold(self, req: Request, held: bool) -> None:
        """Answer nothing, though what is asked is done, until this is over."""
        if held:
            self.may_answer.clear()
        else:
            self.may_answer.set()

    @rpc_command
    def takeRequests(self, req: Request) -> list[dict[str, Any]]:
        taken, self.requests = self.requests, []
        return taken

    @rpc_command
    def update(self, req: Request, path: str, message: Any = None) -> None:
        self.events.update(self.name, path, message)


class EventsHandler(RequestHandler):
    """POST /connect/ID or /disconnect?id=ID, with a JSON array of paths."""

    def initialize(self, site: WebApplication) -> None:
        self.site = site

    def get(self, command: str) -> None:
        self.finish("<h1>Log in</h1>")

    async def post(self, command: str, client_id: str | None = None) -> None:
        site, paths = self.site, json.loads(self.request.body)
        headers = {name.lower(): value for name, value in self.request.headers.items()}
        site.requests.append({"url": f"/{command}", "headers": headers, "paths": paths})
        if site.status == 302:
            self.redirect("/connect")
            return
        if site.status != 200:
            self.set_status(site.status)
            self.finish("<h1>Out of order</h1>")
            return
        for path in paths:
            if command == "connect" and path in site.forbidden:
                self.set_status(403)
                self.finish({"error": f"You may not connect to {path}"})
                return
        client_id = client_id or self.get_query_argument("id")
        if command == "connect":
            site.events.connect_client(client_id, paths)
        else:
            site.events.disconnect_client(client_id, paths)
        await site.may_answer.wait()
        self.set_status(204)


def routes(registry: ServiceRegistry) -> list[Any]:
    """Registers the services ``events`` and ``web_application`` too."""
    events = EventsService("events")
    site = WebApplication("web_application", events)
    registry.register_service(events)
    registry.register_service(site)
    return [
        (r"/(connect|disconnect)/(\w+)", EventsHandler, {"site": site}),
        (r"/(connect|disconnect)", EventsHandler, {"site": site}),
    ]
