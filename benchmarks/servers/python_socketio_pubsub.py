"""Pub/sub and echo over python-socketio: a channel is a room, an answer is an acknowledgement.

Set up for speed as its manual allows: AsyncServer on uvicorn (chapter "Deployment Strategies") with
uvloop and httptools, WebSocket alone, no compression, handlers that run in line
(``async_handlers=False``, which also keeps the order), and a fast module for ``json``.
"""

import json
import os
import platform
import socket
from importlib.metadata import version
from typing import Any

import orjson
import socketio
import uvicorn


class FastJSON:
    """orjson with the names and results of the json module, which is what ``json=`` asks for."""

    loads = staticmethod(orjson.loads)

    @staticmethod
    def dumps(value: Any, **options: Any) -> str:
        return str(orjson.dumps(value), "utf-8")


server = socketio.AsyncServer(
    async_mode="asgi",
    transports=["websocket"],
    async_handlers=False,
    http_compression=False,
    json=FastJSON,
)


async def subscribe(client: str, channel: str) -> tuple[()]:
    await server.enter_room(client, channel)
    return ()


async def publish(client: str, channel: str, message: Any) -> tuple[()]:
    await server.emit("message", message, room=channel)
    return ()


async def echo(client: str, value: Any) -> Any:
    return value


server.on("subscribe", subscribe)
server.on("publish", publish)
server.on("echo", echo)


def main() -> None:
    address = ("127.0.0.1", int(os.environ.get("PORT", 0)))
    listener = socket.create_server(address, backlog=1024)
    versions = {name: version(name) for name in ("python-socketio", "uvicorn", "uvloop")}
    versions |= {"websockets": version("websockets"), "python": platform.python_version()}
    print(json.dumps({"port": listener.getsockname()[1], "versions": versions}), flush=True)
    config = uvicorn.Config(
        socketio.ASGIApp(server),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        log_level="warning",
        access_log=False,
        backlog=1024,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
