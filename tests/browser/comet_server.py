"""Comet for who has the cookie ``user``: python comet_server.py. Prints its port."""

from __future__ import annotations

import asyncio
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.identity import Handshake, Refused
from snorky.request_handlers.comet import SnorkyCometHandler
from snorky.services.base import Request, RPCService, rpc_command


class Names(RPCService):
    @rpc_command
    def mine(self, req: Request) -> Any:
        return req.client.identity

    @rpc_command
    def all(self, req: Request) -> list[Any]:
        return sorted(client.identity for client in registry.clients)


def user_of(handshake: Handshake) -> str:
    if "user" not in handshake.cookies:
        raise Refused
    return handshake.cookies["user"]


registry = ServiceRegistry([Names("names")], authenticate=user_of)


async def main() -> None:
    routes = SnorkyCometHandler.get_routes(registry, "/comet", disconnect_delay=1)
    sockets = bind_sockets(0, "127.0.0.1")
    HTTPServer(Application(list(routes))).add_sockets(sockets)
    print(f"port {sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
