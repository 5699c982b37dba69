"""Pub/sub and echo on Tornado's own WebSocketHandler, speaking Snorky's messages.

As programs were written before Snorky had a protocol of its own: ``write_message`` for every
subscriber, and JSON encoded for each of them. ``set_nodelay`` as Tornado's documentation of
WebSocketHandler advises for small messages; compression is off, its default.
"""

import asyncio
import json
import os
import platform
from collections.abc import Callable
from typing import Any

import tornado
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler

channels: dict[str, set["Connection"]] = {}


class Connection(WebSocketHandler):
    def open(self, *args: str, **kwargs: str) -> None:
        self.set_nodelay(True)
        self.channels: set[str] = set()

    def on_message(self, text: str | bytes) -> None:
        request = json.loads(text)
        message = request["message"]
        answer = {"type": "response", "callId": message["callId"]}
        try:
            command = COMMANDS[request["service"], message["command"]]
            answer["data"] = command(self, **message["params"])
        except (KeyError, TypeError, ValueError) as error:
            answer |= {"type": "error", "message": str(error)}
        self.send({"service": request["service"], "message": answer})

    def on_close(self) -> None:
        for channel in self.channels:
            channels[channel].remove(self)

    def send(self, value: dict[str, Any]) -> None:
        try:
            self.write_message(json.dumps(value))
        except WebSocketClosedError:
            pass


def subscribe(connection: Connection, channel: str) -> None:
    if channel in connection.channels:
        raise ValueError("Already subscribed")
    connection.channels.add(channel)
    channels.setdefault(channel, set()).add(connection)


def publish(connection: Connection, channel: str, message: Any) -> None:
    notification = {"type": "message", "channel": channel, "message": message}
    for subscriber in tuple(channels.get(channel, ())):
        subscriber.send({"service": "pubsub", "message": notification})


def echo(connection: Connection, value: Any) -> Any:
    return value


COMMANDS: dict[tuple[str, str], Callable[..., Any]] = {
    ("pubsub", "subscribe"): subscribe,
    ("pubsub", "publish"): publish,
    ("echo", "echo"): echo,
}


async def main() -> None:
    [listener] = bind_sockets(int(os.environ.get("PORT", 0)), "127.0.0.1", backlog=1024)
    HTTPServer(Application([("/ws", Connection)])).add_socket(listener)
    versions = {"tornado": tornado.version, "python": platform.python_version()}
    print(json.dumps({"port": listener.getsockname()[1], "versions": versions}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
