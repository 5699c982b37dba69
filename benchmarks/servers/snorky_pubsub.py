"""Snorky behind Tornado's door.

A classic program, as the guide writes it, on uvloop: Tornado routes the handshake, Snorky's own
protocol carries the data.
"""

import asyncio
import os
import resource

import uvloop
from announcing import announce
from snorky_services import frontend
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from snorky.request_handlers.websocket import SnorkyWebSocketHandler


async def main() -> None:
    application = Application([SnorkyWebSocketHandler.get_route(frontend, "/")])
    [listener] = bind_sockets(int(os.environ.get("PORT", 0)), "127.0.0.1", backlog=1024)
    HTTPServer(application).add_socket(listener)
    announce(listener.getsockname()[1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(main())
