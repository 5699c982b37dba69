"""Socket.IO with services and with a class: python socketio_server.py PORT (0 is any).

Prints its port.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.request_handlers.socketio import SnorkySocketIOHandler, SocketIOHandler
from snorky.services.pubsub import PubSubService
from tests.browser.sockjs_server import Visitors


class Echo(SocketIOHandler):
    """Acknowledges with what it was sent, and sends it."""

    def on_open(self, *args: Any, **kwargs: Any) -> bool:
        return bool(self.auth != {"name": "mallory"})

    def on_message(self, message: Any) -> Any:
        self.send(message)
        return message


async def main() -> None:
    visitors = Visitors("visitors")
    registry = visitors.registry = ServiceRegistry([PubSubService("pubsub"), visitors])
    services = SnorkySocketIOHandler.get_route(registry, ping_interval=1, ping_timeout=5)
    routes: list[Any] = [services, Echo.routes("echo")]
    sockets = bind_sockets(int(sys.argv[1]), "127.0.0.1")
    HTTPServer(Application(routes)).add_sockets(sockets)
    print(f"port {sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
