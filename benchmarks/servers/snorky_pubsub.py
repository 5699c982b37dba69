"""Pub/sub on Snorky's WebSocket edge: what fanout.py measures.

A classic program, as the guide writes it, on uvloop: Tornado routes the handshake, Snorky's own
protocol carries the data.
"""

import asyncio
import json
import platform
from importlib.metadata import version

import uvloop
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.pubsub import PubSubService


async def main() -> None:
    registry = ServiceRegistry([PubSubService("pubsub")])
    application = Application([SnorkyWebSocketHandler.get_route(registry, "/")])
    [listener] = bind_sockets(0, "127.0.0.1", backlog=1024)
    HTTPServer(application).add_socket(listener)
    versions = {name: version(name) for name in ("snorky", "tornado", "uvloop", "msgspec")}
    versions["python"] = platform.python_version()
    print(json.dumps({"port": listener.getsockname()[1], "versions": versions}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
