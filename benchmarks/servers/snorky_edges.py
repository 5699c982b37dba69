"""Snorky by every way in but ASGI, in one process: the server of transports.py.

The front door and the settings of the collector are those of `snorky serve`. HEARTBEAT in the
environment: seconds between signs of life, instead of each edge's own.
"""

import asyncio
import os
import resource
from typing import Any

import uvloop
from announcing import announce
from snorky_services import frontend
from tornado.netutil import bind_sockets
from tornado.web import Application

from snorky.cli.collector import settle_collector
from snorky.request_handlers.comet import SnorkyCometHandler
from snorky.request_handlers.front_door import FrontDoor
from snorky.request_handlers.socketio import SnorkySocketIOHandler
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler


def every(option: str) -> dict[str, Any]:
    heartbeat = os.environ.get("HEARTBEAT")
    return {option: float(heartbeat)} if heartbeat else {}


async def main() -> None:
    websocket = SnorkyWebSocketHandler.get_route(frontend, "/ws", **every("ping_pong_interval"))
    application = Application(
        [
            websocket,
            SnorkyWebSocketHandler.get_route(frontend, "/door", **every("ping_pong_interval")),
            *SnorkyCometHandler.get_routes(frontend, "/comet", **every("heartbeat_interval")),
            *SnorkySockJSHandler.get_routes(frontend, "/sockjs", **every("heartbeat_interval")),
            SnorkySocketIOHandler.get_route(frontend, "/socket.io", **every("ping_interval")),
        ]
    )
    [listener] = bind_sockets(int(os.environ.get("PORT", 0)), "127.0.0.1", backlog=1024)
    FrontDoor(application, [websocket], limits=frontend.limits).add_sockets([listener])
    settle_collector()
    announce(listener.getsockname()[1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(main())
