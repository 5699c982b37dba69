"""A site with WebSockets under test, and what its visitors do."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import websockets
from tornado.httputil import HTTPServerRequest
from tornado.log import access_log
from tornado.web import Application

from snorky.client import Client
from snorky.services.base import Service
from tests.patience import patient

DEADLINE = patient(5.0)


def log_request(request: HTTPServerRequest, status: int, why: str) -> None:
    """The line that Tornado's access log would have had."""
    level = logging.INFO if status < 400 else logging.WARNING if status < 500 else logging.ERROR
    access_log.log(level, "%d %s %s", status, request.method, request.path)


class Echo(Service):
    """Keeps what it is told, greets, and sends everything back."""

    def __init__(self, name: str = "echo", greeting: Any = None) -> None:
        super().__init__(name)
        self.greeting = greeting
        self.clients: list[Client] = []
        self.left: asyncio.Queue[Client] = asyncio.Queue()

    def client_connected(self, client: Client) -> None:
        self.clients.append(client)
        if self.greeting is not None:
            self.send_message_to(client, [self.greeting, client.identity])

    def process_message_from(self, client: Client, msg: Any) -> None:
        self.send_message_to(client, msg)

    def client_disconnected(self, client: Client) -> None:
        self.left.put_nowait(client)


class Site:
    """Serves routes; ``connect`` opens a WebSocket to one of them.

    Through Tornado, or through the front door where ``open_front_door`` is given.
    """

    def __init__(
        self, listen: Callable[..., int], open_front_door: Callable[..., Any] | None = None
    ) -> None:
        self._listen = listen
        self._open_front_door = open_front_door

    def serve(self, *routes: Any, **settings: Any) -> None:
        application = Application(list(routes), **settings)
        if self._open_front_door is None:
            self.port = self._listen(application)
        else:
            _, self.port = self._open_front_door(application, routes, log_request=log_request)

    def connect(self, path: str = "/", **options: Any) -> Any:
        return websockets.connect(f"ws://127.0.0.1:{self.port}{path}", **options)


async def received(socket: Any) -> Any:
    async with asyncio.timeout(DEADLINE):
        message = await socket.recv()
    return message if isinstance(message, bytes) else json.loads(message)


async def said(socket: Any, message: Any) -> Any:
    """What comes back for a message to the service ``echo``."""
    await socket.send(json.dumps({"service": "echo", "message": message}))
    answer = await received(socket)
    assert answer["service"] == "echo"
    return answer["message"]


async def closed(socket: Any) -> tuple[int | None, str | None]:
    async with asyncio.timeout(DEADLINE):
        await socket.wait_closed()
    return socket.close_code, socket.close_reason
