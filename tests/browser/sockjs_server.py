"""SockJS with a service that counts its visitors: python sockjs_server.py. Prints its port."""

from __future__ import annotations

import asyncio

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.services.base import Request, RPCService, rpc_command
from snorky.services.pubsub import PubSubService


class Visitors(RPCService):
    """Counts everybody, whoever asks included."""

    registry: ServiceRegistry

    @rpc_command
    def count(self, req: Request) -> int:
        return len(self.registry.clients)


async def main() -> None:
    visitors = Visitors("visitors")
    registry = visitors.registry = ServiceRegistry([PubSubService("pubsub"), visitors])
    routes = SnorkySockJSHandler.get_routes(registry, "/sockjs", disconnect_delay=2)
    sockets = bind_sockets(0, "127.0.0.1")
    HTTPServer(Application(routes)).add_sockets(sockets)
    print(f"port {sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
